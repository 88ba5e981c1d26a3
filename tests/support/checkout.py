"""Where the checkout around the tests has what the installed package was built from."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
PROGRAMS = TESTS / "programs"
LIBRARIES = ("mtmd", "vendor-hash", "llama", "ggml", "ggml-cpu", "ggml-rpc", "ggml-base")


def load_fetch() -> Any:
    """Load the fetch script by its path, as setup.py does."""
    spec = importlib.util.spec_from_file_location("fetch", ROOT / "third_party" / "llama.cpp" / "fetch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def source() -> Path:
    """Return the llama.cpp source that the package was built from."""
    return Path(load_fetch().source_dir())


def vocabulary_folder() -> Path:
    """Return the folder of upstream's vocabularies with their reference tokens, out of the pinned archive."""
    fetch = load_fetch()
    models = Path(fetch.pin()["root"], "models")
    return Path(fetch.extract(f"{models.as_posix()}/ggml-vocab-*")) / models


def static_library(name: str) -> Path:
    """Find one of the static libraries that the extension was linked from."""
    return next((ROOT / "build" / "native").rglob(f"lib{name}.a"))
