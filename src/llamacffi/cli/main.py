"""The console script `llamacffi`: it finds the command, and what stops a command becomes one sentence and a status.

0 is done, 1 is not, 2 is wrong usage, 130 is Ctrl-C and 141 a reader that had enough, as a shell reports them.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import llamacffi
from llamacffi.cli import CommandError
from llamacffi.pinned_download import DownloadError

NEEDS = {"rich", "typer"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["run"]:  # outside of what follows: a program's exceptions are its own
        from llamacffi.cli import run

        return run.main(given[1:])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character shows ? for it
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # what is no text is the vocabulary's to judge, as in a file
    try:
        status = command(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # as in `llamacffi demo | head`
        return hushed()
    except (CommandError, DownloadError, llamacffi.LlamaError, MemoryError, OSError) as error:
        print(f"llamacffi: {sentence(error)}", file=sys.stderr)
        return 1
    return status


def sentence(error: BaseException) -> str:
    """Say what stopped a command."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


def command(given: list[str]) -> int:
    """Do what the arguments say, and return the exit status."""
    if given[:1] == ["demo"]:
        from llamacffi.cli import demo

        return demo.main(given[1:])
    if given[:1] == ["adopt"]:
        from llamacffi.cli import adopt

        return adopt.main(given[1:])
    if given == ["--version"]:
        print(f"llamacffi {version()}")
        return 0
    return with_typer(given)


def version() -> str:
    """Name the versions of the package and of what it holds."""
    return f"{llamacffi.__version__} (llama.cpp {llamacffi.build_info().llama_cpp})"


def with_typer(given: list[str]) -> int:
    try:
        from llamacffi.cli import app
    except ModuleNotFoundError as error:
        if error.name not in NEEDS:
            raise
        raise CommandError(
            "only demo, run and adopt work without Typer and Rich: install them with pip install 'llamacffi[cli]'"
        ) from None
    return app.run(given or ["--help"])


def hushed() -> int:
    """Let what is still to be written to a reader that is gone vanish, and return the status of that."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes what is left when it exits
    return 141
