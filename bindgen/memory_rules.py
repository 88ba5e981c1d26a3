"""Judge what the policy says of pointers, numbers and enums: each one that a function takes has a rule or a reason.

Tensor operations are left out (`fields.is_tensor_operation`): they are as in C.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pycparser import c_ast

from bindgen import formulas
from bindgen.c_types import Kind, Types, is_variadic, parameter_names, parameters
from bindgen.fields import Field, fields, is_tensor_operation, structs_taken

if TYPE_CHECKING:
    from bindgen.policy import Policy, Rules

# Also where they take tensors.
CHECKED = ("llama_", "gguf_", "mtmd_")
POINTERS = ("TEXT", "CHARS", "BYTES", "ITEMS", "STRUCT", "POINTERS", "FUNCTION")
NOT_INTEGERS = ("c_float", "c_double", "c_bool", "c__Bool")

STRUCT_KEYS = frozenset({"limits", "unset", "required", "ends_with", "arrays", "reason"})
ENUM_KEYS = frozenset({"count", "good", "named", "reason"})


def is_judged(types: Types, node: c_ast.Decl) -> bool:
    """Whether each pointer, number and enum of a function needs a rule."""
    return str(node.name).startswith(CHECKED) or not is_tensor_operation(types, node)


def is_integer(kind: Kind) -> bool:
    return kind.name == "NUMBER" and kind.python not in NOT_INTEGERS


def is_nullable(node: c_ast.Decl, name: str, rules: Rules) -> bool:
    """Whether a parameter may be NULL; of what only frees, it may."""
    return name in rules.nullable or (rules.frees == name and len(parameters(node)) == 1)


def is_required(types: Types, node: c_ast.Decl, name: str, kind: Kind, rules: Rules) -> bool:
    """Whether NULL is refused for a pointer that is no handle; where its length is a parameter, that decides."""
    judged = kind.name in POINTERS and is_judged(types, node)
    return (judged or kind.name == "TEXT") and name not in rules.bounds and not is_nullable(node, name, rules)


def structs_read(policy: Policy, types: Types, functions: Iterable[c_ast.Decl]) -> dict[str, str]:
    """Return the structs that C reads in judged functions, each with a function that takes it."""
    reading = [
        node
        for node in functions
        if not is_variadic(node) and is_judged(types, node) and not policy.of(node.name).fills
    ]
    return structs_taken(types, reading)


def unknown_keys(policy: Policy) -> Iterator[str]:
    for section, tables, keys in (("structs", policy.structs, STRUCT_KEYS), ("enums", policy.enums, ENUM_KEYS)):
        for name, table in tables.items():
            for key in table.keys() - keys:
                yield f'[{section}."{name}"] has the unknown key {key!r}: use one of {", ".join(sorted(keys))}'


def judge(policy: Policy, types: Types, functions: Mapping[str, c_ast.Decl]) -> Iterator[str]:
    for name, node in functions.items():
        rules = policy.of(name)
        yield from _judge_formulas(name, node, rules)
        if is_judged(types, node):
            for parameter, spelled in zip(parameters(node), parameter_names(node), strict=True):
                yield from _judge_parameter(types, name, parameter.type, spelled, rules)
    read = structs_read(policy, types, functions.values())
    yield from _judge_structs(policy, types, read)
    yield from _judge_enums(policy, types, functions.values(), read)


# ---------------------------------------------------------------- parameters


def _judge_parameter(types: Types, function: str, c_type: c_ast.Node, name: str, rules: Rules) -> Iterator[str]:
    kind = types.kind(c_type)
    if kind.name in POINTERS and not _covered(rules, name, kind):
        yield (
            f"{function}: no rule covers the pointer {name} ({types.unnamed(c_type)}): write "
            f"{_proposal(name, kind)} in [functions.{function}], or the reason why it needs none as "
            f'`reason = {{{name} = "…"}}`'
        )
    if is_integer(kind) and name not in _numbers_with_rules(rules):
        yield (
            f"{function}: no rule covers the number {name} ({types.unnamed(c_type)}): write "
            f"`limits = {{{name} = [least, most]}}` in [functions.{function}] if it becomes memory, threads, a loop or "
            f'an index, or the reason why every value is good as `reason = {{{name} = "…"}}`'
        )


def _covered(rules: Rules, name: str, kind: Kind) -> bool:
    """Whether something is said of this pointer. That text ends and one struct is one, conversion sees to."""
    if name in rules.bounds or name in rules.strings or name in rules.reason:
        return True
    if kind.name == "FUNCTION":
        return name in (*rules.keeps, *rules.replaces)
    return kind.name in ("TEXT", "STRUCT")


def _proposal(name: str, kind: Kind) -> str:
    if kind.name == "FUNCTION":
        return (
            f'`keeps = ["{name}"]` (C may call it until its owner is freed) or `replaces = ["{name}"]` (and it takes '
            "the place of the last)"
        )
    return f'`bounds = {{{name} = "the parameter with its length"}}`'


def _numbers_with_rules(rules: Rules) -> set[str]:
    known = {*rules.limits, *rules.reason, *rules.strings.values()}
    for formula in (*rules.bounds.values(), *filter(None, [rules.allocates])):
        known |= {*formulas.names_in(formula)}
    return known


def formulas_of(rules: Rules) -> list[formulas.Value]:
    ends = [end for limits in rules.limits.values() for end in limits]
    return [*rules.bounds.values(), *ends, *filter(None, [rules.allocates])]


def _judge_formulas(function: str, node: c_ast.Decl, rules: Rules) -> Iterator[str]:
    known = parameter_names(node)
    for formula in formulas_of(rules):
        try:
            named = formulas.names_in(formula)
        except formulas.FormulaError as error:
            yield f"{function}: {error}: correct it in [functions.{function}]"
            continue
        for name in named:
            if name not in known:
                yield f"{function} has no parameter {name!r}, which the formula {formula!r} names: correct it"


# ---------------------------------------------------------------- structs


def _judge_structs(policy: Policy, types: Types, read: Mapping[str, str]) -> Iterator[str]:
    for struct in policy.structs.keys() - read.keys():
        yield f"[structs.{struct}] is no struct that C reads from a function's arguments: remove it"
    for struct, function in read.items():
        table = policy.structs.get(struct, {})
        known = {field.name: field for field in fields(types, struct)}
        for key, rules in table.items():
            for name in {*([rules] if isinstance(rules, str) else rules)} - known.keys():
                yield f"{struct} has no field {name!r}, which {key} names: correct or remove it in [structs.{struct}]"
        for field in known.values():
            if is_integer(field.kind) and not _field_has_rule(table, field):
                yield (
                    f"{struct} (in {function}): no rule covers the number {field.name} ({field.c_type}): write "
                    f"`limits = {{{field.name} = [least, most]}}` in [structs.{struct}], or the reason why every value "
                    f'is good as `reason = {{{field.name} = "…"}}`'
                )


def _field_has_rule(table: dict[str, Any], field: Field) -> bool:
    return any(field.name in table.get(key, {}) for key in ("limits", "reason"))


# ---------------------------------------------------------------- enums


@dataclasses.dataclass(frozen=True)
class _Use:
    """Where an enum is taken: a parameter's function, or a field with its struct."""

    enum: str
    where: str


def _judge_enums(
    policy: Policy, types: Types, functions: Iterable[c_ast.Decl], read: Mapping[str, str]
) -> Iterator[str]:
    uses = [*_parameter_enums(types, functions), *_field_enums(types, read)]
    used = {use.enum: use.where for use in reversed(uses)}
    for enum in policy.enums.keys() - used.keys():
        yield f'"{enum}" is no parameter\'s or field\'s type: remove [enums."{enum}"]'
    for enum, where in used.items():
        if enum not in policy.enums:
            yield (
                f'{enum} is a new enum (in {where}): write [enums."{enum}"] with `count = "…"`, the enumerator that '
                "counts them, if C looks into an array by it, with `named = true` if only the header's enumerators are "
                'good, and with `reason = "…"` if every value is good'
            )


def _parameter_enums(types: Types, functions: Iterable[c_ast.Decl]) -> Iterator[_Use]:
    for node in functions:
        for parameter in parameters(node):
            kind = types.kind(parameter.type)
            if kind.name == "ENUM":
                yield _Use(kind.item, str(node.name))


def _field_enums(types: Types, read: Mapping[str, str]) -> Iterator[_Use]:
    for struct, function in read.items():
        for field in fields(types, struct):
            if field.kind.name == "ENUM":
                yield _Use(field.kind.item, f"{struct}.{field.name}, {function}")
