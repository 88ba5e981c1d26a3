"""Compile the formulas of `policy.toml` into C++ functions over a call's record.

A formula is a sum, product or quotient of integers, of parameters (`nrows * row_bytes(type, n_per_row)`), of constants
of the headers, which are in capitals, and of functions of csrc/checks/lengths.h. All of it is computed in `extent`,
which stops at the ends of its range where a C type would wrap around.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from bindgen.c_types import Kind

OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "/"}
CONSTANT = re.compile(r"[A-Z][A-Z0-9_]+$")

Value = str | int


class FormulaError(Exception):
    """The formula cannot be read; the text says why."""


def names_in(formula: Value) -> list[str]:
    """Return the parameters that a formula speaks of."""
    tree = _parse(formula)
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    found = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return [name for name in dict.fromkeys(found) if name not in called and not CONSTANT.match(name)]


def is_constant(formula: Value) -> bool:
    """Whether it is known at compile time: integers and constants of the headers."""
    return not any(isinstance(node, ast.Call) for node in ast.walk(_parse(formula))) and not names_in(formula)


def constant(formula: Value) -> str:
    """Spell a constant formula in C++, as a `long long`."""
    return f"static_cast<long long>({formula}{'ll' if isinstance(formula, int) else ''})"


def compiled(formula: Value, kinds: Mapping[str, Kind], c_types: Mapping[str, str]) -> str:
    """Spell a formula in C++, where `c` is the call's record.

    Args:
        formula: as it stands in the policy.
        kinds: what each parameter of the function is, in their order.
        c_types: how the C type of each is spelled.
    """
    return _spell(_parse(formula), kinds, c_types)


def _parse(formula: Value) -> ast.expr:
    try:
        return ast.parse(str(formula), mode="eval").body
    except SyntaxError:
        raise FormulaError(f"{formula!r} is no formula") from None


def _spell(node: ast.expr, kinds: Mapping[str, Kind], c_types: Mapping[str, str]) -> str:
    match node:
        case ast.Constant(value=int(value)):
            return f"extent({value}ll)"
        case ast.Name(id=name) if CONSTANT.match(name):
            return f"extent({name})"
        case ast.Name(id=name):
            return _parameter(name, kinds, c_types)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return f"{name}({', '.join(_spell(one, kinds, c_types) for one in arguments)})"
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OPERATORS:
            spelled = _spell(left, kinds, c_types), _spell(right, kinds, c_types)
            return f"({spelled[0]} {OPERATORS[type(operator)]} {spelled[1]})"
    raise FormulaError(f"{ast.unparse(node)!r} stands in a formula: use +, -, *, //, parameters and functions")


def _parameter(name: str, kinds: Mapping[str, Kind], c_types: Mapping[str, str]) -> str:
    if name not in kinds:
        raise FormulaError(f"{name!r} in a formula is no parameter")
    position = [*kinds].index(name)
    kind = kinds[name]
    if kind.name in ("NUMBER", "ENUM"):
        return f"extent(c.numbers[{position}])"
    if kind.name == "VALUE":
        return f"*static_cast<const {kind.item} *>(c.memory[{position}])"
    where = "addresses" if kind.name in ("HANDLE", "OBJECT") else "memory"
    return f"static_cast<{c_types[name]}>(const_cast<void *>(c.{where}[{position}]))"
