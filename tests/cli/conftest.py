"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import llamacffi
from support import commands


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[commands.Call]:
    """Run a command in this process; its log goes to stderr again afterwards."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    yield commands.caller(capsys, monkeypatch)
    llamacffi.log_to(None)
