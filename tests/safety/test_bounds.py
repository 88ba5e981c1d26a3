"""A buffer that is shorter than its length says is refused before C sees it, for every row of csrc/bounds.h."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import bounds_cells
import cell_runner
import pytest

CELLS = {cell.name: cell for cell in bounds_cells.cells()}


@pytest.fixture(scope="module")
def outcome_of(tiny_path: Path) -> Callable[[str], str]:
    found = cell_runner.outcomes(tiny_path, {name: cell.code for name, cell in CELLS.items()})
    return found.__getitem__


@pytest.mark.parametrize("name", CELLS)
def test_a_buffer_that_is_too_short_is_refused(name: str, outcome_of: Callable[[str], str]) -> None:
    assert re.match(CELLS[name].expected, outcome_of(name))
