"""The command line in this process, which costs no start, and in one of its own, where that is what is tested."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from llamacffi.cli.main import main

LLAMACFFI = Path(sysconfig.get_path("scripts"), "llamacffi")


class Said(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


Call = Callable[..., Said]


def caller(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return what runs a command in this process, whose stdin has the text that is given."""

    def call(*arguments: object, stdin: str = "") -> Said:
        read_end, write_end = os.pipe()
        with open(write_end, "wb") as file:  # noqa: PTH123  (a descriptor)
            file.write(stdin.encode())
        with open(read_end, encoding="utf-8") as file:  # noqa: PTH123
            monkeypatch.setattr(sys, "stdin", file)
            status = main([str(argument) for argument in arguments])
        return Said(status, *capsys.readouterr())

    return call


def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command in a process of its own, with pipes."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([str(LLAMACFFI), *map(str, arguments)], **{**pipes, **options})
