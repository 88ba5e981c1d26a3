"""What all programs here have in common: the work that is timed, and the JSON that says how long it took.

A program hands over a function that opens the model and returns another: `generate(prompt, count)`, which empties the
context, decodes the tokens of the prompt, takes the likeliest token so many times, whatever it is, and returns their
text. Nothing but the standard library is imported, since each program runs with the Python of its own package.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

Generate = Callable[[list[int], int], str]

COMPARED = 32  # tokens whose text is compared
GENERATED = 128  # tokens that are timed
TIMES = 2  # of which the fastest counts


class Given(TypedDict):
    """What `benchmarks/peers.py` writes into the one argument."""

    model: str
    threads: int
    context: int  # tokens
    batch: int  # tokens
    short: list[int]  # the prompt of a generation
    long: list[int]  # the prompt that is timed


def run(open_model: Callable[[Given], Generate]) -> None:
    """Do the work, and print what was found: seconds a token, bytes, and the text."""
    given: Given = json.loads(sys.argv[1])
    generate = open_model(given)
    text = generate(given["short"], COMPARED)  # warms up too
    prompt = fastest(generate, given["long"], 1)
    first = fastest(generate, given["short"], 1)
    all_of_them = fastest(generate, given["short"], 1 + GENERATED)
    found = {
        "text": text,
        "prompt": prompt / len(given["long"]),
        "generation": (all_of_them - first) / GENERATED,
        "resident": memory("VmRSS"),
        "peak": memory("VmHWM"),
    }
    print(json.dumps(found), flush=True)


def fastest(generate: Generate, prompt: list[int], count: int) -> float:
    def once() -> float:
        started = time.perf_counter()
        generate(prompt, count)
        return time.perf_counter() - started

    return min(once() for _ in range(TIMES))


def memory(field: str) -> int:
    """Return a field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
