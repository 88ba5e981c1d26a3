"""The `bounds` of bindgen/policy.toml, and the pointers that must not be NULL: which pointer of which function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from bindgen import policy
from llamacffi import ffi, lib
from llamacffi._native import functions

TENSORS = ("ggml_tensor", "ggml_cgraph", "ggml_cplan", "ggml_backend_graph_copy", "ggml_tallocr")
PLAN = "ggml_backend_graph_plan_t"  # what a backend has made of a graph
CHECKED = ("llama_", "gguf_", "mtmd_")


@dataclass(frozen=True)
class Bound:
    """A pointer parameter, and the parameter or the formula that says how many items are behind it."""

    function: str
    pointer: int
    count: int | None  # None: one item, or a formula
    formula: str
    null_is_good: bool  # whatever the length says


@functools.cache
def rules() -> policy.Policy:
    return policy.load()


def names_of(function: str) -> list[str]:
    return [*inspect.signature(functions[function]).parameters]


def rows() -> Iterator[Bound]:
    for function in sorted(functions):
        own = rules().of(function)
        names = names_of(function) if own.bounds else []
        for pointer, length in own.bounds.items():
            if pointer in names:
                count = names.index(str(length)) if length in names else None
                formula = "" if length == 1 or length in names else str(length)
                yield Bound(function, names.index(pointer), count, formula, pointer in own.nullable)


def is_tensor_operation(function: str) -> bool:
    ctype = ffi.typeof(getattr(lib, function))
    spelled = [one.cname for one in (*ctype.args, ctype.result)]
    tensors = any(f"struct {name}" in one for one in spelled for name in TENSORS)
    tensors |= PLAN in str(functions[function].__doc__)
    return tensors and not function.startswith(CHECKED)


def is_handle(ctype: object) -> bool:
    """Whether a pointer leads to a struct of llama.cpp's own."""
    item = getattr(ctype, "item", None)
    name = str(getattr(item, "cname", "")).removeprefix("struct ")
    return name in rules().kinds or "FILE" in name


def never_null() -> Iterator[tuple[str, int]]:
    """All pointers to data and functions that C reads or calls without asking whether they are there."""
    for function in sorted(functions):
        if is_tensor_operation(function):
            continue
        own = rules().of(function)
        for position, (name, ctype) in enumerate(
            zip(names_of(function), ffi.typeof(getattr(lib, function)).args, strict=True)
        ):
            said = (*own.nullable, *own.bounds)
            if ctype.kind in ("pointer", "function") and not is_handle(ctype) and name not in said:
                yield function, position
