"""What the tests of safety share: the folders on the path, and child processes that may die."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "border")]

import tiny_model  # noqa: E402
from children import Ended, run_python  # noqa: E402

PRELUDE = f"import sys\nsys.path[:0] = {sys.path[:3]!r}\nfrom world import *\n"


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file of a random llama model."""
    return tiny_model.write(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def child(tiny_path: Path) -> Callable[..., Ended]:
    """Run code in a process of its own, with the names of `world`, to its end, whatever that is."""

    def run(code: str, *arguments: object, timeout: float = 60) -> Ended:
        return run_python(PRELUDE + code, tiny_path, *map(str, arguments), timeout=timeout)

    return run


@pytest.fixture(scope="session")
def output_of(child: Callable[..., Ended]) -> Callable[..., str]:
    """Run code in a child that must end well, and return what it printed."""

    def run(code: str, *arguments: object, timeout: float = 60) -> str:
        ended = child(code, *arguments, timeout=timeout)
        assert ended.returncode == 0, f"ended with {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    return run
