"""What one seed has: handles, alive and freed, by their kind; results that are structs; files, states and texts."""

from __future__ import annotations

import ctypes
import shutil
import threading
from pathlib import Path
from random import Random
from typing import Any

from fuzz.functions import known

MOST_FREED, MOST_VALUES, MOST_STATES = 20, 6, 8

TEXTS = (
    b"",
    b"the cat at the dog",
    b" \xc3\xa9\xff\x00"[:3],
    b"general.architecture",
    b"general.name",
    b"tokenizer.ggml.tokens",
    b"tokenizer.ggml.scores",
    b"token_embd.weight",
    b"CPU",
    b"chatml",
    b"root",
    b'root ::= "a" | "b" root',
    b"root ::= [a-z]+",
    b"root ::= root",
    b"the",
    b"a",
    b"{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}",
    b"127.0.0.1:9",
    b"mmap",
    b"the <__media__> cat",
    b"<__media__>",
    b"%s%n%d",
    b"x" * 300,
)
WRITTEN = ("out.gguf", "out.state", "out.bin")
ABSENT = ("none.gguf", "", "folder-that-is-not/none")


class World:
    """The objects of one seed; all its threads share them.

    A list is never changed: another takes its place, so that a thread that chooses of it finds it as it was.
    """

    def __init__(self, folder: Path, models: list[Path]) -> None:
        self._changing = threading.RLock()
        self.live: dict[str, list[int]] = {kind: [] for kind in known().kinds}
        self.freed: dict[str, list[int]] = {kind: [] for kind in known().kinds}
        self.values: dict[str, list[Any]] = {}
        self.states: list[bytes] = []
        self.texts = TEXTS
        self.folder = folder
        self.models = [folder / path.name for path in models]
        for path in models[0].parent.glob("*.gguf"):
            shutil.copyfile(path, folder / path.name)
        self.main_model = self.models[0]

    # ---------------------------------------------------------------- handles

    def add(self, kind: str, handle: int) -> None:
        with self._changing:
            if handle not in self.live[kind]:
                self.live[kind] = [*self.live[kind], handle]
            self.freed[kind] = _without(handle, self.freed[kind])

    def drop(self, kind: str, handle: int) -> None:
        """Remember that a handle is not alive."""
        with self._changing:
            if handle in self.live[kind]:
                self.live[kind] = _without(handle, self.live[kind])
                self.freed[kind] = [*self.freed[kind][-MOST_FREED:], handle]

    def name_of(self, handle: int) -> str:
        """Tell for a record what an int is a handle of."""
        for kind, handles in self.live.items():
            if handle in handles:
                return f"{kind} {handle:#x}"
        freed = next((kind for kind, handles in self.freed.items() if handle in handles), "")
        return f"freed {freed} {handle:#x}" if freed else hex(handle)

    # ---------------------------------------------------------------- structs, states, files

    def add_value(self, value: Any) -> None:
        """Keep a struct that a call has returned."""
        name = type(value).__name__
        with self._changing:
            self.values[name] = [*self.values.get(name, []), value][-MOST_VALUES:]

    def add_state(self, state: bytes) -> None:
        with self._changing:
            self.states = [*self.states, state][-MOST_STATES:]

    def path(self, random: Random) -> bytes:
        chance = random.random()
        if chance < 0.6:
            name = self.main_model.name if chance < 0.3 else random.choice(self.models).name
        elif chance < 0.9:
            name = random.choice(("adapter.gguf", "vocabulary.gguf", "template.gguf", *WRITTEN))
        else:
            name = random.choice(ABSENT)
        return bytes(self.folder / name)

    def written_path(self, random: Random) -> bytes:
        return bytes(self.folder / random.choice(WRITTEN))

    def close_files(self) -> None:
        """Close what was opened, and forget it: a callback of this seed that is still set may yet make calls."""
        files, self.live["FILE"] = self.live["FILE"], []
        for file in files:
            C.fclose(ctypes.c_void_p(file))


def _without(handle: int, handles: list[int]) -> list[int]:
    return [one for one in handles if one != handle]


C = ctypes.CDLL(None)
