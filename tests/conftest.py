"""What the tests share: the pinned source, the models, C programs built against the same static libraries, and children.

The package under test is the installed one; the checkout around this folder has the source and the libraries that it
was built from.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llamacffi import default_model, llama_cpp

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(__file__).with_name("programs")
LIBRARIES = ("llama", "ggml", "ggml-cpu", "ggml-rpc", "ggml-base")


def load_fetch() -> Any:
    """Load the fetch script by its path, as setup.py does."""
    spec = importlib.util.spec_from_file_location("fetch", ROOT / "third_party" / "llama.cpp" / "fetch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def vocabulary_folder() -> Path:
    """Return the folder of upstream's vocabularies with their reference tokens, out of the pinned archive."""
    fetch = load_fetch()
    models = Path(fetch.pin()["root"], "models")
    return Path(fetch.extract(f"{models.as_posix()}/ggml-vocab-*")) / models


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, however that is, and keep what it printed."""
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)


def run_python(code: str, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    return run(sys.executable, "-c", code, *arguments, **options)


def static_library(name: str) -> Path:
    """Find one of the static libraries that the extension was linked from."""
    return next((ROOT / "build" / "native").rglob(f"lib{name}.a"))


@pytest.fixture(scope="session")
def source() -> Path:
    """The llama.cpp source that the package was built from."""
    return Path(load_fetch().source_dir())


@pytest.fixture(scope="session")
def c_program(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile C code against the headers and the static libraries of the build; give the program's path."""

    def build(code: str) -> Path:
        folder = tmp_path_factory.mktemp("c_program")
        (folder / "program.c").write_text(code)
        includes = [f"-I{source / 'include'}", f"-I{source / 'ggml' / 'include'}"]
        compiled = run(os.environ.get("CC", "cc"), "-c", "-w", *includes, "program.c", "-o", "program.o", cwd=folder)
        assert compiled.returncode == 0, compiled.stderr
        group = ["-Wl,--start-group", *map(static_library, LIBRARIES), "-Wl,--end-group"]
        system = ["-lpthread", "-ldl", "-lm"]
        linked = run(os.environ.get("CXX", "c++"), "program.o", "-o", "program", *group, *system, cwd=folder)
        assert linked.returncode == 0, linked.stderr
        return folder / "program"

    return build


@pytest.fixture(scope="session")
def model_path() -> Path:
    """SmolLM2-135M-Instruct, a real model."""
    return default_model.model_path()


@pytest.fixture(scope="session")
def model(model_path: Path) -> Iterator[Any]:
    """The real model, loaded; nobody may free it."""
    loaded = llama_cpp.llama_model_load_from_file(os.fsencode(model_path), llama_cpp.llama_model_default_params())
    assert loaded
    yield loaded
    llama_cpp.llama_model_free(loaded)
