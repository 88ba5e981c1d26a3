"""What an import costs beyond starting Python, each in a fresh process, in turns with ones that import nothing.

Bytecode and files are in the caches, as on any day but the first: pip compiles what it installs, and the checkout is
compiled by the first turn, which is not counted.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

GROUP = "import"
NOTHING, OURS, PEER = "nothing", "llamacffi", "llama-cpp-python"
WHAT = "beyond starting Python"


def seconds(command: list[str]) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


@contextlib.contextmanager
def one_cpu() -> Iterator[None]:
    """Start all processes on the same CPU."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(usable)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def measure(options: Any, results: Any) -> None:
    commands = {
        NOTHING: [sys.executable, "-c", "pass"],
        OURS: [sys.executable, "-c", "import llamacffi.llama_cpp"],
    }
    if options.peer:
        commands[PEER] = [str(options.peer), "-c", "import llama_cpp.llama_cpp"]
    found: dict[str, list[float]] = {who: [] for who in commands}
    with one_cpu():
        for turn in range(options.rounds(30) + 1):
            for who, command in commands.items():
                taken = seconds(command)
                if turn:
                    found[who].append(taken)
    for who, values in found.items():
        if who != NOTHING:
            beyond = (value - nothing for value, nothing in zip(values, found[NOTHING], strict=True))
            results.add(GROUP, WHAT, who, [max(value, 1e-6) for value in beyond])
