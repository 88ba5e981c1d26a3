"""Try cells, each of which may kill the process, in one child, and start another child behind a cell that did.

A cell is code whose last line is an expression. What became of it is one line: `returned …`, or the exception's type
and text.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from children import run

PROGRAM = Path(__file__).with_name("try_cells.py")

Outcomes = dict[str, str]


def outcomes(tiny_path: Path, cells: Mapping[str, str]) -> Outcomes:
    """Return what became of each cell."""
    found: Outcomes = {}
    while len(found) < len(cells):
        left = {name: code for name, code in cells.items() if name not in found}
        found |= _of_one_child(tiny_path, left)
    return found


def _of_one_child(tiny_path: Path, cells: dict[str, str]) -> Outcomes:
    with tempfile.TemporaryDirectory() as folder:
        todo, done = Path(folder, "todo"), Path(folder, "done")
        todo.write_text(json.dumps(cells))
        ended = run(sys.executable, PROGRAM, tiny_path, todo, done)
        lines = done.read_text().splitlines() if done.exists() else []
    found = dict(json.loads(line) for line in lines)
    if ended.returncode != 0:
        culprit = next((name for name in cells if name not in found), "the end of the process")
        found[culprit] = f"died with {ended.returncode}: {ended.stderr[-300:]}"
    return found
