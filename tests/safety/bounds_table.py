"""The table of csrc/bounds.h, read as text: which pointer of which function has its length where."""

from __future__ import annotations

import re
from dataclasses import dataclass

from support.checkout import ROOT

ONE_ITEM = "one_item"


@dataclass(frozen=True)
class Bound:
    """A pointer parameter and the parameter that says how many items are behind it."""

    function: str
    pointer: int
    count: int | None  # None: one item


def rows(table: str = "bounds") -> list[Bound]:
    text = (ROOT / "csrc" / "bounds.h").read_text(encoding="utf-8")
    found = re.search(rf"bound {table}\[\] = \{{(.*?)\n\}};", text, re.S)
    assert found, f"csrc/bounds.h has no table {table}"
    cells = re.findall(r'\{"(\w+)", (\d+), (\w+)\}', found[1])
    return [Bound(name, int(at), None if count == ONE_ITEM else int(count)) for name, at, count in cells]
