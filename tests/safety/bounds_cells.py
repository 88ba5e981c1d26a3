"""Each row of csrc/bounds.h × a buffer that is too short, and NULL: calls whose other arguments are good."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bounds_table
import handle_cells

from llamacffi import ffi, lib

MANY = 1000  # items that C is told to use

# An array of the items that a parameter of this type points to.
ARRAY = {
    "char *": "(ctypes.c_char * {n})()",
    "uint8_t *": "(ctypes.c_uint8 * {n})()",
    "int32_t *": "(ctypes.c_int32 * {n})()",
    "uint16_t *": "(ctypes.c_uint16 * {n})()",
    "float *": "(ctypes.c_float * {n})()",
    "ggml_bf16_t *": "(L.ggml_bf16_t * {n})()",
    "void *": "(ctypes.c_uint8 * {n})()",
    "size_t *": "(ctypes.c_size_t * {n})()",
    "char * *": "(ctypes.c_char_p * {n})()",
    "void * *": "(ctypes.c_void_p * {n})()",
    "struct llama_adapter_lora * *": "(ctypes.c_void_p * {n})()",
    "struct llama_chat_message *": "(L.llama_chat_message * {n})()",
    "struct llama_logit_bias *": "(L.llama_logit_bias * {n})()",
    "llama_logit_bias *": "(L.llama_logit_bias * {n})()",
    "void(* *)(enum ggml_log_level, char *, void *)": "(ctypes.c_void_p * {n})()",
}

# Where C takes NULL whatever the length says.
NULL_IS_GOOD = {(row.function, row.pointer) for row in bounds_table.rows("may_be_null")}


@dataclass(frozen=True)
class Cell:
    """A call with one pointer whose buffer is shorter than its length says."""

    row: bounds_table.Bound
    null: bool

    @property
    def name(self) -> str:
        return f"{'NULL' if self.null else 'short'}: {self.row.function}, argument {self.row.pointer + 1}"

    @property
    def items(self) -> int:
        return 1 if self.row.count is None else MANY

    @property
    def code(self) -> str:
        types = handle_cells.argument_types(self.row.function)
        return f"L.{self.row.function}({', '.join(self.argument(*one) for one in enumerate(types))})"

    def argument(self, position: int, ctype: Any) -> str:
        if position == self.row.pointer:
            return "None" if self.null else ARRAY[ctype.cname].format(n=0 if self.row.count is None else 1)
        if position == self.row.count:
            return str(MANY)
        return good(self.row.function, ctype)

    @property
    def expected(self) -> str:
        """A regular expression for what becomes of it."""
        items = f"{self.items} item{'s' * (self.items > 1)}"
        has = 0 if self.row.count is None else 1
        says = f"is NULL, where C reads or writes {items}" if self.null else f"holds {has}, where C may read or write"
        return rf"LlamaValueError {self.row.function}\(\): .+ \(.+\) {re.escape(says)}"


def good(function: str, ctype: Any) -> str:
    """An argument that is right, or at least is not what the cell is about."""
    if ctype.cname in ARRAY:
        return ARRAY[ctype.cname].format(n=MANY)
    if ctype.kind == "struct":
        return f"L.{ctype.cname.removeprefix('struct ').replace('_params', '_default_params')}()"
    return handle_cells.good(function, ctype) if ctype.cname != "_Bool" else "False"


def cells() -> Iterator[Cell]:
    for row in bounds_table.rows():
        yield Cell(row, null=False)
        if (row.function, row.pointer) not in NULL_IS_GOOD:
            yield Cell(row, null=True)


def types_in_the_table() -> set[str]:
    return {ffi.typeof(getattr(lib, row.function)).args[row.pointer].cname for row in bounds_table.rows()}
