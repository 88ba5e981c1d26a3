"""Print which mechanism of docs/safety.md covers which functions: `python -m bindgen.safety_table LLAMA_CPP`.

Made of the policy and of the headers each time, and committed nowhere.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable, Iterator

from pycparser import c_ast

from bindgen import policy, trim_header
from bindgen.c_types import Types, is_variadic, parameter_names, parameters
from bindgen.fields import is_tensor_operation, structs_taken
from bindgen.formulas import is_constant
from bindgen.memory_rules import POINTERS, is_judged

Covers = Callable[[Types, c_ast.Decl, policy.Rules], list[str]]


def lengths(_types: Types, node: c_ast.Decl, rules: policy.Rules) -> list[str]:
    return [name for name in parameter_names(node) if name in rules.bounds]


def formulas(_types: Types, node: c_ast.Decl, rules: policy.Rules) -> list[str]:
    names = parameter_names(node)
    return [name for name in names if str(rules.bounds.get(name, 1)) not in [*names, "1"]]


def never_null(types: Types, node: c_ast.Decl, rules: policy.Rules) -> list[str]:
    if not is_judged(types, node):
        return []
    pairs = zip(parameter_names(node), parameters(node), strict=True)
    pointers = [name for name, parameter in pairs if types.kind(parameter.type).name in POINTERS]
    return [name for name in pointers if name not in rules.nullable and name not in rules.bounds]


def limits(_types: Types, node: c_ast.Decl, rules: policy.Rules) -> list[str]:
    return [name for name in parameter_names(node) if name in rules.limits]


def asked(types: Types, node: c_ast.Decl, rules: policy.Rules) -> list[str]:
    return [name for name in limits(types, node, rules) if not all(map(is_constant, rules.limits[name]))]


def memory(_types: Types, _node: c_ast.Decl, rules: policy.Rules) -> list[str]:
    return [rules.allocates] if rules.allocates else []


def enums(types: Types, node: c_ast.Decl, _rules: policy.Rules) -> list[str]:
    pairs = zip(parameter_names(node), parameters(node), strict=True)
    return [name for name, parameter in pairs if types.kind(parameter.type).name == "ENUM"]


def structs(types: Types, node: c_ast.Decl, rules: policy.Rules) -> list[str]:
    return [] if is_tensor_operation(types, node) or rules.fills else [*structs_taken(types, [node])]


def read_on(_types: Types, _node: c_ast.Decl, rules: policy.Rules) -> list[str]:
    return [*rules.reads, *([rules.copies] if rules.copies else [])]


def kept(_types: Types, _node: c_ast.Decl, rules: policy.Rules) -> list[str]:
    return [*rules.keeps, *rules.replaces]


def handles(types: Types, node: c_ast.Decl, _rules: policy.Rules) -> list[str]:
    pairs = zip(parameter_names(node), parameters(node), strict=True)
    return [name for name, parameter in pairs if types.kind(parameter.type).name in ("HANDLE", "OBJECT")]


def computes(_types: Types, _node: c_ast.Decl, rules: policy.Rules) -> list[str]:
    return [*rules.computes]


MECHANISMS: dict[str, Covers] = {
    "A handle: alive, of its kind, and entered by one that changes it": handles,
    "An object that computes, with what it uses": computes,
    "What a new object reads as long as it lives": read_on,
    "What C holds on to": kept,
    "A pointer with a length": lengths,
    "A length that is a formula": formulas,
    "A pointer that must not be NULL": never_null,
    "A number with limits": limits,
    "Limits that C is asked for": asked,
    "Memory compared with the machine's": memory,
    "An enum": enums,
    "A struct whose fields are read": structs,
}


def rows(header: trim_header.Header, rules: policy.Policy) -> Iterator[str]:
    types = Types(header.nodes, policy.handles_with_fields(rules))
    functions = [node for node in header.functions if not is_variadic(node)]
    for mechanism, covers in MECHANISMS.items():
        found = {str(node.name): covers(types, node, rules.of(node.name)) for node in functions}
        told = [f"`{name}` ({', '.join(what)})" for name, what in sorted(found.items()) if what]
        yield f"| {mechanism} | {len(told)} | {', '.join(told)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=pathlib.Path, help="llama.cpp checkout")
    given = parser.parse_args()
    print("| mechanism | functions | which |\n| --- | --- | --- |")
    for row in rows(trim_header.trim(given.source), policy.load()):
        print(row)


if __name__ == "__main__":
    main()
