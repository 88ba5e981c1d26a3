"""The threads that contexts compute with: limited, counted, and seen at work, as the kernel tells of this process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from unittest import mock

VARIABLE = "LLAMACFFI_MAX_THREADS"


@contextlib.contextmanager
def most_threads(number: int | None) -> Iterator[None]:
    """Let contexts compute with so many threads, however many CPUs there are; None leaves it to these."""
    with mock.patch.dict(os.environ):
        os.environ.pop(VARIABLE, None)
        if number is not None:
            os.environ[VARIABLE] = str(number)
        yield


@contextlib.contextmanager
def affinity(cpus: Set[int]) -> Iterator[None]:
    """Let this thread run on these CPUs alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Workers:
    """The threads of this process that were not there when the object was made, or all of them."""

    def __init__(self, all_threads: bool = False) -> None:
        self.before = set() if all_threads else _threads()

    def ids(self) -> set[int]:
        return _threads() - self.before

    def count(self) -> int:
        return len(self.ids())

    def count_left(self, expected: int) -> int:
        """Return how many are left of those that were joined: a thread leaves /proc a moment after that."""
        _wait_until(lambda: self.count() <= expected)
        return self.count()

    def count_that_run(self, function: Callable[[], object]) -> int:
        """Return how many of these threads, all asleep before, run while the function does."""
        _wait_until(lambda: all(_state(worker) == "S" for worker in self.ids()))
        before = {worker: _times_run(worker) for worker in self.ids()}
        function()
        return sum(_times_run(worker) > times for worker, times in before.items())


def _threads() -> set[int]:
    return {int(path.name) for path in Path("/proc/self/task").iterdir()}


def _state(thread: int) -> str:
    return _told(thread, "stat").rpartition(")")[2].split()[0]


def _times_run(thread: int) -> int:
    """Return how often the scheduler has given a CPU to this thread (proc(5), schedstat)."""
    return int(_told(thread, "schedstat").split()[2])


def _told(thread: int, what: str) -> str:
    return Path("/proc/self/task", str(thread), what).read_text()


def _wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what the kernel does on its own, and of which no event tells."""
    until = time.monotonic() + 10
    while not holds() and time.monotonic() < until:
        time.sleep(0.001)
