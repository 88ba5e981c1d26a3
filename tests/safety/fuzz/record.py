"""The last calls of each thread in a file that is mapped into memory: they are there when the process is not."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

SLOTS, ENTRIES, SIZE = 8, 16, 2048  # threads, calls of each, bytes of each
UNDER_WAY, DONE = b">", b"."


class Record:
    """The calls of one process, as they are made."""

    def __init__(self, path: Path) -> None:
        with path.open("w+b") as file:
            file.truncate(SLOTS * ENTRIES * SIZE)
            self._memory = mmap.mmap(file.fileno(), SLOTS * ENTRIES * SIZE)
        self._counts = [0] * SLOTS

    def enter(self, slot: int, text: str) -> int:
        """Write down a call that is about to be made; return where."""
        count = self._counts[slot]
        self._counts[slot] += 1
        start = (slot * ENTRIES + count % ENTRIES) * SIZE
        line = UNDER_WAY + f"{count}: {text}".encode(errors="replace")[: SIZE - 2] + b"\0"
        self._memory[start : start + len(line)] = line
        return start

    def leave(self, start: int) -> None:
        self._memory[start : start + 1] = DONE


def last_calls(path: Path) -> Iterator[str]:
    """Tell for each thread its last calls, the oldest first; those that had not returned begin with `>`."""
    contents = path.read_bytes()
    for slot in range(SLOTS):
        entries = [contents[(slot * ENTRIES + n) * SIZE :][:SIZE].split(b"\0", 1)[0] for n in range(ENTRIES)]
        written = [entry.decode(errors="replace") for entry in entries if entry]
        for line in sorted(written, key=lambda line: int(line[1:].split(":")[0])):
            yield f"thread {slot} {line}"
