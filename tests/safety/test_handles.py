"""Each function refuses each wrong handle: NULL, an unknown address, another kind, a freed one.

The cells are made from the header, so that a new function is among them by itself. They run in child processes, many
in one: what kills the child fails the cell it was at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cell_runner
import handle_cells
import pytest

CELLS = {cell.name: cell for cell in handle_cells.cells()}


@pytest.fixture(scope="module")
def outcome_of(tiny_path: Path) -> Callable[[str], str]:
    found = cell_runner.outcomes(tiny_path, {name: cell.code for name, cell in CELLS.items()})
    return found.__getitem__


@pytest.mark.parametrize("name", CELLS)
def test_a_wrong_handle_is_refused(name: str, outcome_of: Callable[[str], str]) -> None:
    assert re.match(CELLS[name].expected, outcome_of(name))


def test_every_kind_of_handle_and_every_mistake_is_among_the_cells() -> None:
    tried = {(cell.kind, cell.mistake) for cell in CELLS.values()}
    assert tried == {(kind, mistake) for kind in handle_cells.LIVE for mistake in handle_cells.SAYS}
