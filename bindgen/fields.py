"""The fields of the structs that functions take, by value or by pointer: what each one is, and where.

A struct inside of a struct is flattened (`caps.async`); one that a field points to has rows of its own. Arrays and
unions are left out: nothing in the policy speaks of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from pycparser import c_ast

from bindgen.c_types import Kind, Types, is_variadic, parameters

# What tensor operations compute with: as in C (docs/safety.md).
TENSORS = ("ggml_tensor", "ggml_cgraph", "ggml_cplan")


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a struct; `name` is spelled as C++'s offsetof takes it."""

    name: str
    kind: Kind
    c_type: str


PLAN = "ggml_backend_graph_plan_t"


def is_tensor_operation(types: Types, node: c_ast.Decl) -> bool:
    """Whether a function takes or gives tensors or graphs of them: by pointer, in an array, or in a struct by value.

    What a backend has made of a graph (a plan) is one too.
    """
    used = [node.type.type, *(parameter.type for parameter in parameters(node))]
    return any(types.unnamed(one) == PLAN or _has_tensors(types, types.kind(one)) for one in used)


def _has_tensors(types: Types, kind: Kind) -> bool:
    if kind.name == "VALUE":
        return any(
            _has_tensors(types, field.kind) for field in fields(types, kind.python) if field.kind.name != "STRUCT"
        )
    return kind.python in TENSORS or kind.python in [f"POINTER({name})" for name in TENSORS]


def fields(types: Types, struct: str, before: str = "") -> list[Field]:
    """Return the fields of a struct that the headers define."""
    found: list[Field] = []
    for declared in types.declared(struct):
        if isinstance(types.resolve(declared.type), c_ast.ArrayDecl | c_ast.Union) or not declared.name:
            continue
        kind, name = types.kind(declared.type), before + declared.name
        if kind.name == "VALUE" and kind.python:
            found += fields(types, kind.python, f"{name}.")
        else:
            found.append(Field(name, kind, types.unnamed(declared.type)))
    return found


def structs_taken(types: Types, functions: Iterable[c_ast.Decl]) -> dict[str, str]:
    """Return the structs that functions take, and what their fields point to, each with a function that takes it."""
    found: dict[str, str] = {}
    for node in functions:
        if is_variadic(node):
            continue
        for parameter in parameters(node):
            kind = types.kind(parameter.type)
            if kind.name in ("STRUCT", "VALUE"):
                found |= {name: node.name for name in _reached(types, kind.python, found)}
    return found


def _reached(types: Types, struct: str, known: Iterable[str]) -> Iterator[str]:
    if struct in known or struct in TENSORS or not types.declared(struct):
        return
    yield struct
    for field in fields(types, struct):
        if field.kind.name == "STRUCT":
            yield from _reached(types, field.kind.python, [*known, struct])
