"""Run a program on llama-cpp-python's package: over llamacffi, or over the ctypes library that it was built with.

The package is the archive's own Python files, unmodified.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from support.checkout import load_fetch
from support.processes import Ended, run

HERE = Path(__file__).resolve().parent
SCENARIOS = HERE / "scenarios.py"
EXPECTED = HERE / "expected.json"
LLAMACFFI = Path(sysconfig.get_path("scripts")) / "llamacffi"

# An installed `llama_cpp` folder of the pinned llama-cpp-python, to compare with in one run.
PEER = "LLAMACFFI_CTYPES_PEER"


def package() -> Path:
    """Return the folder in which the archive's `llama_cpp` is."""
    return Path(load_fetch().extract("llama_cpp/*"))


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return an environment in which what is in `folder` is installed."""
    return {**os.environ, "PYTHONPATH": str(folder), **more}


def run_ours(*arguments: str | Path, **options: Any) -> Ended:
    """Run a program by `llamacffi run`, with the archive's package installed."""
    return run(LLAMACFFI, "run", *arguments, env=environment(package()), **options)


def run_theirs(peer: Path, folder: Path, *arguments: str | Path, **options: Any) -> Ended:
    """Run a program on an installed llama-cpp-python, of which `folder` gets a link: its neighbours are not ours."""
    link = folder / "peer" / "llama_cpp"
    link.parent.mkdir()
    link.symlink_to(peer, target_is_directory=True)
    return run(sys.executable, *arguments, env=environment(link.parent), **options)


def facts(ended: Ended) -> dict[str, Any]:
    """Read what scenarios.py printed, as far as it came."""
    told = (json.loads(line) for line in ended.stdout.splitlines())
    return {line["scenario"]: line["facts"] for line in told}
