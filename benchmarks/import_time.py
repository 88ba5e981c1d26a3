"""Measure what `import llamacffi.llama_cpp` costs beyond starting Python, and llama-cpp-python's module beside it.

Every import is in a fresh process; the processes take turns with ones that import nothing, whose median time is
subtracted. Bytecode and files are in the caches, as on any day but the first.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

MOST = 12.0  # milliseconds that llamacffi.llama_cpp may take

NOTHING = "nothing"
OURS = "llamacffi.llama_cpp"
PEER = "llama_cpp.llama_cpp"


def programs(peer: Path | None) -> dict[str, list[str]]:
    """Return the command of each contender; the peer's package is found where it is installed."""
    start = [sys.executable, "-c"]
    commands = {NOTHING: [*start, "pass"], OURS: [*start, f"import {OURS}"]}
    if peer:
        commands[PEER] = [*start, f"import sys; sys.path.append({str(peer.parent)!r}); import {PEER}"]
    return commands


def milliseconds(command: list[str]) -> float:
    started = time.perf_counter_ns()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter_ns() - started) / 1e6


def measure(commands: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Return the times of each contender over all rounds, after one that fills the caches."""
    for command in commands.values():
        milliseconds(command)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(milliseconds(command))
    return times


def show(times: dict[str, list[float]]) -> None:
    start = statistics.median(times[NOTHING])
    print(f"{'milliseconds a process':28}{'median':>9}{'fastest':>9}{'slowest':>9}{'beyond starting':>17}")
    for name, one in times.items():
        beyond = statistics.median(one) - start
        print(f"{'import ' + name:28}{beyond + start:9.1f}{min(one):9.1f}{max(one):9.1f}{beyond:17.1f}")
    ours = statistics.median(times[OURS]) - start
    print(f"\n{'met   ' if ours < MOST else 'MISSED'}  {OURS} in less than {MOST:.0f} ms beyond starting Python")


def warn_of_load() -> None:
    """A process that waits for a CPU looks slow."""
    load, cpus = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load > cpus / 2:
        print(f"This machine is busy (load {load:.1f} on {cpus} CPUs): these times come out too long.\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ctypes", type=Path, help="the folder of the installed llama_cpp package (default: none)")
    parser.add_argument("--rounds", type=int, default=30, help="(default: %(default)s)")
    given = parser.parse_args()
    warn_of_load()
    peer = given.ctypes.absolute() if given.ctypes else None
    show(measure(programs(peer), given.rounds))


if __name__ == "__main__":
    main()
