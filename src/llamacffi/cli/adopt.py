"""`llamacffi adopt`: what it is asked for; `llamacffi.adopt` does it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from llamacffi import adopt, pinned_download


def main(arguments: Sequence[str]) -> int:
    """Make, install or remove the wheel, and return the exit status; what stops it is one sentence."""
    try:
        print(act(parse(arguments)))
    except (adopt.AdoptError, pinned_download.DownloadError, OSError) as error:
        print(f"llamacffi adopt: {error}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "llamacffi adopt",
        description="Make a wheel of llama-cpp-python that runs on llamacffi, and install it into this environment.",
        epilog="Example: llamacffi adopt --yes && pip install langchain-community",
    )
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="only write the wheel there")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--force", action="store_true", help="replace a llama-cpp-python that is installed")
    parser.add_argument("--undo", action="store_true", help="remove what was installed so")
    return parser.parse_args(arguments)


def act(given: argparse.Namespace) -> str | Path:
    if given.into:
        return adopt.make_wheel(given.into)
    if given.undo:
        return adopt.undo(yes=given.yes)
    return adopt.install(yes=given.yes, force=given.force)
