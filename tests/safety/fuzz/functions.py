"""Which functions are called, and what is known of each parameter: from the extension and bindgen/policy.toml alone.

What is left out is left out by its type, or in `NEVER_RETURNS`, with the reason.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bindgen import policy
from llamacffi import ffi, lib
from llamacffi._native import functions as built_in

# A parameter or a result that leads to one of these makes the function a tensor operation.
TENSORS = ("struct ggml_tensor", "struct ggml_cgraph")
PLAN = "ggml_backend_graph_plan_t"  # what a backend has made of a graph
FOR_A_FORMULA = 4096  # items, where a formula says how many
HANDED_ON = "C only hands it on"
NEVER_RETURNS = {"ggml_backend_rpc_start_server": "it serves other processes until this one ends"}


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    `kind` is the kind of handle that it is or that an array of them holds, `length` the name of the parameter that says
    how many items are behind it, `items` their number where no parameter says it.
    """

    name: str
    ctype: Any
    kind: str
    length: str
    items: int
    texts: bool
    nullable: bool
    is_handed_on: bool


@dataclass(frozen=True)
class Function:
    """A function that is called, and how often compared with others."""

    name: str
    call: Any
    parameters: tuple[Parameter, ...]
    result: Any
    rules: policy.Rules
    weight: float


@functools.cache
def known() -> policy.Policy:
    return policy.load()


def kind_of(ctype: Any) -> str:
    """Return the kind of handle that a value of this type is, or "" where it is none."""
    if ctype.kind != "pointer":
        return ""
    name = str(ctype.item.cname).removeprefix("struct ")
    return name if name in known().kinds else ""


def is_trusted(kind: str) -> bool:
    """Tell whether an address of this kind that nothing made is trusted, since the policy does not know all of them."""
    return not known().kinds[kind].get("known", False)


def all_functions() -> tuple[list[Function], dict[str, str]]:
    """Return the functions that are called, and the reason of each one that is not."""
    called, left_out = [], {}
    for name in sorted(built_in):
        reason = _reason_to_leave_out(name)
        if reason:
            left_out[name] = reason
        else:
            called.append(_function(name))
    return called, left_out


def _reason_to_leave_out(name: str) -> str:
    ctype = ffi.typeof(getattr(lib, name))
    if any(map(_has_tensors, (*ctype.args, ctype.result))) or PLAN in str(built_in[name].__doc__):
        return "a tensor operation: docs/safety.md"
    return NEVER_RETURNS.get(name, "")


def _has_tensors(ctype: Any) -> bool:
    if ctype.kind == "struct":
        return any(_is_tensor(field.type) for _, field in ctype.fields or ())
    return _is_tensor(ctype)


def _is_tensor(ctype: Any) -> bool:
    while ctype.kind in ("pointer", "array"):
        ctype = ctype.item
    return ctype.cname in TENSORS


def _function(name: str) -> Function:
    rules = known().of(name)
    ctype = ffi.typeof(getattr(lib, name))
    names = inspect.signature(built_in[name]).parameters
    calls_back = any("(*" in one.cname or one.kind == "function" for one in ctype.args)
    described = zip(names, ctype.args, strict=True)
    parameters = tuple(_parameter(one, of, rules, calls_back, [*names]) for one, of in described)
    return Function(name, built_in[name], parameters, ctype.result, rules, _weight(parameters, rules))


def _parameter(name: str, ctype: Any, rules: policy.Rules, calls_back: bool, names: list[str]) -> Parameter:
    array = ctype.kind == "pointer" and ctype.item.kind == "pointer"
    kind = kind_of(ctype.item if array else ctype)
    handed_on = rules.reason.get(name, "").startswith(HANDED_ON)
    handed_on |= calls_back and name.endswith(("user_data", "userdata", "_ud", "callback_data"))
    handed_on &= name not in rules.bounds
    said = rules.bounds.get(name, rules.strings.get(name, ""))
    length = str(said) if said in names else ""
    items = said if isinstance(said, int) else FOR_A_FORMULA if said and not length else 0
    return Parameter(name, ctype, kind, length, items, name in rules.strings, name in rules.nullable, handed_on)


def _weight(parameters: tuple[Parameter, ...], rules: policy.Rules) -> float:
    """Prefer what changes objects to what looks at one number, and both to what has no argument."""
    if rules.frees or (rules.keeps_gil and len(parameters) == 1):
        return 0.3
    return 1.0 + 0.5 * bool(rules.computes or rules.takes or rules.check) if parameters or rules.creates else 0.1


def lengths(function: Function) -> Iterator[tuple[Parameter, str]]:
    """Find the pointers whose length is another parameter."""
    for parameter in function.parameters:
        if parameter.length:
            yield parameter, parameter.length
