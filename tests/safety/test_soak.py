"""Thousands of cycles of making and freeing leave neither memory nor open files behind.

`soak.py` does them, in a process of its own, where nothing else moves the memory.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from children import run

PROGRAM = Path(__file__).with_name("soak.py")
MOST_GROWTH = 5  # MB
SHORT = {"vocabulary": 200, "context": 50, "refused": 200}
LONG = {"vocabulary": 10_000, "context": 2_000, "refused": 10_000}


def assert_level(tiny_path: Path, cycle: str, count: int) -> None:
    ended = run(sys.executable, PROGRAM, tiny_path, cycle, str(count))
    assert ended.returncode == 0, ended.stderr[-3000:]
    report = json.loads(ended.stdout)
    print(cycle, count, report)
    assert report["grown"] < MOST_GROWTH
    assert report["files"] == 0


@pytest.mark.parametrize("cycle", SHORT)
def test_memory_and_files_stay_level(cycle: str, tiny_path: Path) -> None:
    assert_level(tiny_path, cycle, SHORT[cycle])


@pytest.mark.long
@pytest.mark.parametrize("cycle", LONG)
def test_memory_and_files_stay_level_over_thousands_of_cycles(cycle: str, tiny_path: Path) -> None:
    assert_level(tiny_path, cycle, LONG[cycle])
