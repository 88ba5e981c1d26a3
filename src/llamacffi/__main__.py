"""The console script `llamacffi`, which is also `python -m llamacffi`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import llamacffi
from llamacffi import demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console script and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["run"]:  # what follows is for the program: argparse would take options out of it
        from llamacffi import run

        return run.main(arguments[1:])
    given = parse(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character shows ? for it
    return int(given.act(given))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("llamacffi", description="llama.cpp for CPython as one compiled cffi extension.")
    parser.add_argument("--version", action="version", version=f"llamacffi {demo.versions()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser("demo", help="show this machine, a model, and text that it generates")
    command.add_argument("--model", type=Path, metavar="PATH", help="a GGUF file (default: SmolLM2-135M, downloaded)")
    command.add_argument(
        "--prompt", default=demo.PROMPT, metavar="TEXT", help="what to complete (default: %(default)r)"
    )
    command.add_argument("--tokens", type=token_count, default=64, metavar="N", help="at most (default: %(default)s)")
    command.set_defaults(act=run_demo)
    commands.add_parser("run", help="run a program, with llamacffi in llama-cpp-python's place")
    command = commands.add_parser(
        "adopt",
        help="install llama-cpp-python over this engine, without a compiler",
        description="Make a wheel of llama-cpp-python that runs on llamacffi, and install it into this environment.",
    )
    command.add_argument("--into", type=Path, metavar="FOLDER", help="only write the wheel there")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.add_argument("--force", action="store_true", help="replace a llama-cpp-python that is installed")
    command.add_argument("--undo", action="store_true", help="remove what was installed so")
    command.set_defaults(act=run_adopt)
    return parser.parse_args(arguments)


def token_count(given: str) -> int:
    count = int(given)
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {count}")
    return count


def run_demo(given: argparse.Namespace) -> int:
    """Run the demo and return the exit status; what stops it is one sentence."""
    try:
        demo.tour(given.model, given.prompt, given.tokens)
    except KeyboardInterrupt:
        print()
        return 130  # as a shell reports it
    except BrokenPipeError:  # the reader had enough, as in `llamacffi demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes what is left when it exits
        return 141
    except (demo.DemoError, llamacffi.LlamaError, MemoryError) as error:
        print(f"llamacffi: {error}", file=sys.stderr)
        return 1
    return 0


def run_adopt(given: argparse.Namespace) -> int:
    """Make, install or remove the wheel, and return the exit status; what stops it is one sentence."""
    from llamacffi import adopt, pinned_download

    try:
        if given.into:
            print(adopt.make_wheel(given.into))
        elif given.undo:
            print(adopt.undo(yes=given.yes))
        else:
            print(adopt.install(yes=given.yes, force=given.force))
    except KeyboardInterrupt:
        print()
        return 130
    except (adopt.AdoptError, pinned_download.DownloadError, OSError) as error:
        print(f"llamacffi adopt: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
