"""What the tests share as fixtures; support/ has what these are made of.

The package under test is the installed one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("support")

import llamacffi  # noqa: E402
from llamacffi import default_model, llama_cpp  # noqa: E402
from support import c_programs, gguf_files  # noqa: E402
from support.checkout import vocabulary_folder  # noqa: E402
from support.objects import context_of, load  # noqa: E402


@pytest.fixture(scope="session")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build a C program in a folder of its own."""
    return lambda code: c_programs.build(code, tmp_path_factory.mktemp("c_program"))


def pytest_xdist_auto_num_workers() -> int:
    """A process more than there are cores, since many tests wait; but no more than four, each of which loads models."""
    return min(llamacffi.usable_cpus() + 1, 4)


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
    yield from _loaded(model_path)


@pytest.fixture(scope="session")
def tiny_path() -> Path:
    """A GGUF file of a random llama model."""
    return gguf_files.shared()


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> Iterator[Any]:
    """The tiny model, loaded; no test may free it."""
    yield from _loaded(tiny_path)


def _loaded(path: Path) -> Iterator[Any]:
    loaded = load(path)
    assert loaded
    yield loaded
    llama_cpp.llama_model_free(loaded)


@pytest.fixture(scope="session")
def vocab(tiny: Any) -> Any:
    """The tiny model's vocabulary."""
    return llama_cpp.llama_model_get_vocab(tiny)


@pytest.fixture
def context(tiny: Any) -> Iterator[Any]:
    """A fresh context of the tiny model."""
    made = context_of(tiny)
    assert made
    yield made
    llama_cpp.llama_free(made)
