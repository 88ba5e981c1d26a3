"""The `bounds` of bindgen/policy.toml: which pointer of which function has its length where."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from bindgen import policy
from llamacffi._native import functions


@dataclass(frozen=True)
class Bound:
    """A pointer parameter and the parameter that says how many items are behind it."""

    function: str
    pointer: int
    count: int | None  # None: one item
    null_is_good: bool  # whatever the length says


def rows() -> Iterator[Bound]:
    known = policy.load()
    for function in sorted(functions):
        rules = known.of(function)
        names = [*inspect.signature(functions[function]).parameters] if rules.bounds else []
        for pointer, length in rules.bounds.items():
            if pointer in names:
                count = None if length == 1 else names.index(str(length))
                yield Bound(function, names.index(pointer), count, pointer in rules.nullable)
