"""A buffer that is shorter than its length says is refused before C sees it: all `bounds` of bindgen/policy.toml."""

from __future__ import annotations

from typing import Any

import bounds_table
import pytest
from arguments import MANY, array_of, good, types_of

from llamacffi import LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import refused

ROWS = {(row.function, row.pointer): row for row in bounds_table.rows()}
NULL_IS_GOOD = {key for key, row in ROWS.items() if row.null_is_good}


def start(function: str, pointer: int) -> str:
    return rf"{function}\(\): .+ \(.+\) "


def holds_less(function: str, pointer: int) -> str:
    has = 0 if ROWS[function, pointer].count is None else 1
    return rf"{start(function, pointer)}holds {has}, where C may read or write"


def is_null(function: str, pointer: int) -> str:
    items = "1 item" if ROWS[function, pointer].count is None else f"{MANY} items"
    return rf"{start(function, pointer)}is NULL, where C reads or writes {items}"


def call(function: str, pointer: int, given: Any, model: Any, ctx: Any) -> None:
    """Call the function with this pointer, a length of many items, and what else is good."""
    arguments = [good(function, ctype, model, ctx) for ctype in types_of(function)]
    arguments[pointer] = given
    count = ROWS[function, pointer].count
    if count is not None:
        arguments[count] = MANY
    getattr(llama, function)(*arguments)


@pytest.mark.parametrize(("function", "pointer"), ROWS)
@refused(LlamaValueError, holds_less)
def test_a_buffer_that_is_too_short_is_refused(function: str, pointer: int, model: Any, ctx: Any) -> None:
    one_too_few = 0 if ROWS[function, pointer].count is None else 1
    call(function, pointer, array_of(types_of(function)[pointer], one_too_few), model, ctx)


@pytest.mark.parametrize(("function", "pointer"), sorted(ROWS.keys() - NULL_IS_GOOD))
@refused(LlamaValueError, is_null)
def test_null_is_refused_where_c_reads_or_writes(function: str, pointer: int, model: Any, ctx: Any) -> None:
    call(function, pointer, None, model, ctx)
