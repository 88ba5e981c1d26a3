"""What the tests of the command line share."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llamacffi
from support import commands
from support.checkout import TESTS


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[commands.Call]:
    """Run a command in this process; its log goes to stderr again afterwards."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    yield commands.caller(capsys, monkeypatch)
    llamacffi.log_to(None)


@pytest.fixture(scope="session")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a file of one of the fuzzer's tiny models that are no llama: mamba, jamba, t5 or bert."""
    spec = importlib.util.spec_from_file_location("models", TESTS / "safety" / "fuzz" / "models.py")
    assert spec and spec.loader
    models: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    folder = tmp_path_factory.mktemp("architectures")
    return lambda name: Path(models.write(folder / f"{name}.gguf", name))
