"""What the tests share: models, and C programs built against the static libraries that the extension was linked from.

The package under test is the installed one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import LIBRARIES, source, static_library, vocabulary_folder
from children import run

from llamacffi import default_model, llama_cpp


@pytest.fixture(scope="session")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile C code against the headers and the static libraries of the build; give the program's path."""

    def build(code: str) -> Path:
        folder = tmp_path_factory.mktemp("c_program")
        (folder / "program.c").write_text(code)
        includes = [f"-I{source() / 'include'}", f"-I{source() / 'ggml' / 'include'}"]
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
def vocabulary() -> Path:
    """The smallest of upstream's models without tensors: it loads and is saved in milliseconds."""
    return min(vocabulary_folder().glob("*.gguf"), key=lambda path: path.stat().st_size)


@pytest.fixture(scope="session")
def model(model_path: Path) -> Iterator[Any]:
    """The real model, loaded; no test may free it."""
    loaded = llama_cpp.llama_model_load_from_file(os.fsencode(model_path), llama_cpp.llama_model_default_params())
    assert loaded
    yield loaded
    llama_cpp.llama_model_free(loaded)
