"""Every pointer that C reads or writes through has its length checked, or a reason why it needs none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import bounds_table
import pytest

from llamacffi import ffi, lib
from llamacffi._native import functions

# What a pointer parameter is, by its type, where no length belongs to it.
REASON_BY_TYPE = {
    "FILE *": "an open file of the C library, which no Python object is: trusted",
    "void *": "user data, which C only hands on to the callback",
    "struct llama_sampler_i *": "one struct, by its ctypes type",
    "struct llama_model_quantize_params *": "one struct, by its ctypes type",
    "struct llama_token_data_array *": "one struct, by its ctypes type; csrc/ looks at its own pointer and size",
    "struct ggml_tensor *": "a tensor that C handed to a callback: trusted",
}
# cffi's types forget `const`; the prototype in the function's docstring does not.
NUL = "text that ends with a NUL, which conversion asks of every object that has no length"

# The others, with the reason.
EXCEPTIONS = {
    ("llama_copy_state_data", 1): "has no length in C: csrc/overrides.h compares the buffer with the state's size",
    ("llama_set_state_data", 1): "has no length in C: csrc/overrides.h gives C the buffer's size",
}


def pointers() -> Iterator[tuple[str, int, Any]]:
    for name in sorted(functions):
        if name.startswith("llama_"):
            for position, ctype in enumerate(ffi.typeof(getattr(lib, name)).args):
                if ctype.kind == "pointer" and ctype.item.kind != "function" and not is_handle(ctype):
                    yield name, position, ctype


def is_handle(ctype: Any) -> bool:
    """A pointer to a struct that Python never sees, or to a sampler."""
    name = re.fullmatch(r"struct (\w+) (?:const )?\*", ctype.cname)
    if not name:
        return False
    return name[1] == "llama_sampler" or is_opaque(ctype.item)


def declared(function: str, position: int) -> str:
    """How the header declares a parameter."""
    lines = str(functions[function].__doc__).splitlines()
    prototype = next(line for line in lines if re.match(rf".*[ *]{function}\(", line))
    return prototype.partition(f"{function}(")[2].split(",")[position].strip()


def is_opaque(struct: Any) -> bool:
    try:  # asking an opaque struct for its fields would abort the process
        ffi.sizeof(struct)
    except (ffi.error, ValueError):
        return True
    return False


BOUNDED = {(row.function, row.pointer) for row in bounds_table.rows()}
POINTERS = {(name, position): ctype.cname for name, position, ctype in pointers()}


@pytest.mark.parametrize(("function", "position"), POINTERS, ids=lambda part: str(part))
def test_a_pointer_is_in_the_table_or_needs_no_length(function: str, position: int) -> None:
    ctype = POINTERS[function, position]
    text = NUL if declared(function, position).startswith("const char *") else None
    reasons = [EXCEPTIONS.get((function, position)), REASON_BY_TYPE.get(ctype), text]
    assert (function, position) in BOUNDED or any(reasons), f"{function}, argument {position + 1}: {ctype}"


def test_the_table_names_pointers_and_integers_that_exist() -> None:
    for row in bounds_table.rows():
        types = ffi.typeof(getattr(lib, row.function)).args
        assert types[row.pointer].kind == "pointer", row
        assert row.count is None or types[row.count].kind == "primitive", row


def test_the_exceptions_are_functions_that_exist_and_are_not_in_the_table() -> None:
    assert set(EXCEPTIONS) <= set(POINTERS)
    assert not BOUNDED & set(EXCEPTIONS)


def test_every_reason_by_type_is_needed() -> None:
    assert set(REASON_BY_TYPE) <= set(POINTERS.values())
