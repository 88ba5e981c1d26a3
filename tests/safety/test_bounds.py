"""A buffer that is shorter than its length says, or not there, is refused before C sees it: all of the policy."""

from __future__ import annotations

import ctypes
from typing import Any

import bounds_table
import pytest
from arguments import MANY, array_of, good, types_of

from llamacffi import LlamaValueError, ffi
from llamacffi import llama_cpp as llama
from llamacffi._native import functions
from support.cells import refused

ROWS = {(row.function, row.pointer): row for row in bounds_table.rows() if not row.formula}
NULL_IS_GOOD = {key for key, row in ROWS.items() if row.null_is_good}
COUNTED = [key for key, row in ROWS.items() if row.count is not None]
NEVER_NULL = [*bounds_table.never_null()]
every_bound = pytest.mark.parametrize(("function", "pointer"), ROWS)


def start(function: str, pointer: int) -> str:
    return rf"{function}\(\): .+ \(.+\) "


def holds_less(function: str, pointer: int) -> str:
    has = 0 if ROWS[function, pointer].count is None else 1
    return rf"{start(function, pointer)}holds {has}, where C may read or write"


def leaves_less(function: str, pointer: int) -> str:
    """A reference to the last item leaves one; where that is enough, a part of one is left, or nothing of a byte."""
    row = ROWS[function, pointer]
    if row.count is None:
        return rf"{start(function, pointer)}is byref\(…, \d+\) of an object of \d+ bytes"
    return holds_less(function, pointer)


def is_null(function: str, pointer: int) -> str:
    items = "1 item" if ROWS[function, pointer].count is None else f"{MANY} items"
    return rf"{start(function, pointer)}is NULL, where C reads or writes {items}"


def must_not_be_null(function: str, pointer: int) -> str:
    return rf"{start(function, pointer)}must not be NULL"


def has_no_such_place(function: str, pointer: int) -> str:
    return rf"{start(function, pointer)}is byref\(…, -1\) of an object of \d+ bytes"


def is_negative(function: str, pointer: int) -> str:
    return (
        rf"{start(function, pointer)}(must not be negative, not -1|cannot hold -1|must be (from|at least) \d.*, not -1)"
    )


def call(function: str, pointer: int, given: Any, model: Any, ctx: Any, count: int = MANY) -> None:
    """Call the function with this pointer, a length of many items, and what else is good."""
    arguments = [good(function, ctype, model, ctx) for ctype in types_of(function)]
    arguments[pointer] = given
    row = ROWS.get((function, pointer))
    if row and row.count is not None:
        arguments[row.count] = count
    functions[function](*arguments)


def short(function: str, pointer: int) -> Any:
    """One item, where there should be many, or none where there should be one."""
    return array_of(types_of(function)[pointer], 0 if ROWS[function, pointer].count is None else 1)


@every_bound
@refused(LlamaValueError, holds_less)
def test_a_buffer_that_is_too_short_is_refused(function: str, pointer: int, model: Any, ctx: Any) -> None:
    call(function, pointer, short(function, pointer), model, ctx)


@every_bound
@refused(LlamaValueError, holds_less)
def test_cdata_that_is_too_short_is_refused(function: str, pointer: int, model: Any, ctx: Any) -> None:
    ctype = types_of(function)[pointer]
    item = ffi.typeof("char") if ctype.item.kind == "void" else ctype.item
    made = ffi.new(ffi.getctype(item, "[]"), 0 if ROWS[function, pointer].count is None else 1)
    call(function, pointer, made, model, ctx)


@every_bound
@refused(LlamaValueError, has_no_such_place)
def test_a_reference_before_its_object_is_refused(function: str, pointer: int, model: Any, ctx: Any) -> None:
    made = array_of(types_of(function)[pointer], MANY)
    call(function, pointer, ctypes.byref(made, -1), model, ctx)


@every_bound
@refused(LlamaValueError, leaves_less)
def test_what_a_reference_leaves_of_its_object_counts(function: str, pointer: int, model: Any, ctx: Any) -> None:
    made = array_of(types_of(function)[pointer], MANY)
    size = ctypes.sizeof(made) // MANY
    last = size if ROWS[function, pointer].count is not None else min(1, size - 1)
    call(function, pointer, ctypes.byref(made, ctypes.sizeof(made) - last), model, ctx)


@pytest.mark.parametrize(("function", "pointer"), COUNTED)
@refused(LlamaValueError, is_negative)
def test_a_length_is_not_negative(function: str, pointer: int, model: Any, ctx: Any) -> None:
    call(function, pointer, array_of(types_of(function)[pointer], MANY), model, ctx, count=-1)


@pytest.mark.parametrize(("function", "pointer"), sorted(ROWS.keys() - NULL_IS_GOOD))
@refused(LlamaValueError, is_null)
def test_null_is_refused_where_c_reads_or_writes(function: str, pointer: int, model: Any, ctx: Any) -> None:
    call(function, pointer, None, model, ctx)


@pytest.mark.parametrize(("function", "pointer"), NEVER_NULL)
@refused(LlamaValueError, must_not_be_null)
def test_null_is_refused_where_c_does_not_ask(function: str, pointer: int, model: Any, ctx: Any) -> None:
    call(function, pointer, None, model, ctx)


@refused(LlamaValueError, r"llama_model_load_from_splits\(\): paths .+ is byref\(…, 1\) of an object of 16 bytes")
def test_a_reference_does_not_begin_in_the_middle_of_an_item() -> None:
    paths = (ctypes.c_char_p * 2)(b"one", b"two")
    llama.llama_model_load_from_splits(ctypes.byref(paths, 1), 1, llama.llama_model_default_params())
