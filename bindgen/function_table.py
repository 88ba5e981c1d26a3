"""Write the tables that tell csrc/ what each function takes and gives, and what policy.toml says of it.

One row a parameter: its name and C type for error messages, its kind, which chooses the conversion, and its rules.
One row a function, with its rules. Sizes are left to the compiler. The rows are sorted by the function's name, since
csrc/ searches them at compile time; names in the rules have become positions.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Sequence

from pycparser import c_ast

from bindgen import c_api, comments, formulas, memory_rules, policy, trim_header
from bindgen.c_types import Kind, Types, is_variadic, parameter_names, parameters
from bindgen.place_tables import PlaceTables
from bindgen.value_tables import NOWHERE, ValueTables, are_constant, limit_cells, string, table, true, type_cells

ONE_ITEM = -1  # in the place of a length's position
CHECKS = 2  # as many has a function at the most


class Tables:
    """The rows, as they grow function by function."""

    def __init__(self, header: trim_header.Header, rules: policy.Policy) -> None:
        self.header = header
        self.policy = rules
        self.types = Types(header.nodes, policy.handles_with_fields(rules))
        self.tracked = [name for name, kind in rules.kinds.items() if not kind.get("untracked")]
        self.parameters: list[str] = []
        self.bounds: list[str] = []
        self.strings: list[str] = []
        self.formulas: list[str] = []
        self.compiled: list[str] = []
        self.functions: list[str] = []
        self.values = ValueTables(header, self.types, rules, self.tracked)
        self.places = PlaceTables(self.types, rules, self.values)
        self.named: dict[str, set[str]] = {"check": set(), "after": set()}
        for node in sorted(header.functions, key=lambda node: str(node.name)):
            if not is_variadic(node):
                self._add(node)

    def _add(self, node: c_ast.Decl) -> None:
        rules = self.policy.of(node.name)
        names = parameter_names(node)
        starts = tuple(
            map(len, (self.parameters, self.bounds, self.strings, self.places.reads, self.places.places, self.formulas))
        )
        kinds = [self.types.kind(parameter.type) for parameter in parameters(node)]
        for parameter, name, kind in zip(parameters(node), names, kinds, strict=True):
            self.parameters.append(self._parameter(node, parameter, name, kind, rules))
        self._add_bounds(node, names, kinds, rules)
        for pointer, length in rules.strings.items():
            position = names.index(pointer)
            each = self._pointers_in(kinds[position])
            self.strings.append(f"  {{{position}, {names.index(length)}, {each}}},\n")
        self.places.add(names, kinds, rules)
        self.functions.append(self._function(node, names, rules, starts))

    def _add_bounds(self, node: c_ast.Decl, names: list[str], kinds: list[Kind], rules: policy.Rules) -> None:
        for number, limits in rules.limits.items():
            if number in names and not are_constant(limits):
                self._add_formula("RANGE", node, number, rules, limits)
        for pointer, length in self._bounds(node, names, kinds, rules).items():
            null = true(pointer in rules.nullable)
            if length == 1 or length in names:
                count = ONE_ITEM if length == 1 else names.index(str(length))
                self.bounds.append(f"  {{{names.index(pointer)}, {count}, {null}}},\n")
            else:
                self._add_formula("LENGTH", node, pointer, rules, (0, length))
        if rules.allocates:
            self._add_formula("MEMORY", node, names[0], rules, (0, rules.allocates))

    def _bounds(
        self, node: c_ast.Decl, names: list[str], kinds: list[Kind], rules: policy.Rules
    ) -> dict[str, formulas.Value]:
        """What the policy says, and one struct behind each pointer to a struct of which it says nothing."""
        said = {pointer: length for pointer, length in rules.bounds.items() if pointer in names}
        if not memory_rules.is_judged(self.types, node):
            return said
        structs = {name: 1 for name, kind in zip(names, kinds, strict=True) if kind.name == "STRUCT"}
        return {**structs, **said}

    def _add_formula(
        self, kind: str, node: c_ast.Decl, parameter: str, rules: policy.Rules, ends: Sequence[formulas.Value]
    ) -> None:
        names = parameter_names(node)
        function = f"{kind.lower()}_{len(self.formulas)}"
        for end, formula in zip(("least", "most"), ends, strict=True):
            spelled = formulas.compiled(formula, *self._types_of(node))
            self.compiled.append(
                f"// {node.name}, {parameter}: {formula}\n"
                f"extent {end}_{function}([[maybe_unused]] const call &c) {{ return {spelled}; }}\n"
            )
        null = true(parameter in rules.nullable)
        cells = f"formula_kind::{kind}, {names.index(parameter)}, {null}, least_{function}, most_{function}"
        self.formulas.append(f"  {{{cells}}},\n")

    def _where_plain(self, node: c_ast.Decl, rules: policy.Rules) -> str:
        if not isinstance(rules.plain, str):
            return "nullptr"
        function = f"where_plain_{len(self.functions)}"
        spelled = formulas.compiled(rules.plain, *self._types_of(node))
        self.compiled.append(
            f"// {node.name}, plain: {rules.plain}\n"
            f"extent {function}([[maybe_unused]] const call &c) {{ return {spelled}; }}\n"
        )
        return function

    def _types_of(self, node: c_ast.Decl) -> tuple[dict[str, Kind], dict[str, str]]:
        """What each parameter is to the border, and how its C type is spelled."""
        own = [(name, one.type) for name, one in zip(parameter_names(node), parameters(node), strict=True)]
        return {name: self.types.kind(one) for name, one in own}, {name: self.types.unnamed(one) for name, one in own}

    def _pointers_in(self, kind: Kind) -> int:
        """How many pointers an item has: a struct's fields, or the item itself."""
        struct = self.types.struct(kind.python)
        return len(struct.decls) if struct else 1

    def _parameter(self, node: c_ast.Decl, parameter: c_ast.Node, name: str, kind: Kind, rules: policy.Rules) -> str:
        nullable, bounded = memory_rules.is_nullable(node, name, rules), name in rules.bounds
        required = memory_rules.is_required(self.types, node, name, kind, rules)
        keeping = "REPLACES" if name in rules.replaces else "KEEPS" if name in rules.keeps else "NOT"
        taken = kind if name not in rules.fills else Kind("VOID")
        also = rules.also.get(name) or (name if keyword.iskeyword(name) else None)
        cells = (
            type_cells(kind),
            string(in_python(name)),
            string(also) if also else "nullptr",
            string(self.types.unnamed(parameter.type)),
            self.values.handle(kind),
            *map(true, (nullable, bounded, required)),
            f"keeping::{keeping}",
            f"access::{self._access(name, kind, rules)}",
            *map(true, (name in rules.reenters, self._wraps(name, kind, rules))),
            self.values.enum(kind),
            self.values.struct(taken),
            *limit_cells(rules.limits.get(name)),
        )
        return f"  {{{', '.join(cells)}}},\n"

    def _access(self, name: str, kind: Kind, rules: policy.Rules) -> str:
        if name in rules.looks or not self.policy.kinds.get(kind.python, {}).get("exclusive"):
            return "LOOKS"
        return "READS" if kind.const else "CHANGES"

    def _wraps(self, name: str, kind: Kind, rules: policy.Rules) -> bool:
        """Only where every value is good: what has limits, or is a length, must come as it is."""
        is_free = name in rules.reason and name not in rules.limits
        return name in rules.wraps and is_free and memory_rules.is_integer(kind)

    def _function(self, node: c_ast.Decl, names: list[str], rules: policy.Rules, starts: tuple[int, ...]) -> str:
        result = self.types.kind(node.type.type)
        hint = self.header.deprecated.get(node.name)
        first, *starting = starts
        grown = map(len, (self.bounds, self.strings, self.places.reads, self.places.places, self.formulas))
        ranges = ", ".join(f"{start}, {end - start}" for start, end in zip(starting, grown, strict=True))
        smpl, chain = next(iter(rules.takes.items()), ("", ""))
        with_attached = rules.with_attached or bool(rules.computes)
        ownership = (rules.creates, rules.gives_back, with_attached)
        flags = (*ownership, rules.waits, rules.ignores_more, rules.as_pointer)
        positions = (rules.owner, rules.frees, next(iter(rules.computes), ""), smpl, chain, rules.copies)
        cells = (
            type_cells(result),
            string(node.name),
            string(self._doc(node, names, hint)),
            string(hint) if hint else "nullptr",
            f"{first}, {len(names)}, {ranges}",
            self.values.handle(result),
            f"{true(rules.keeps_gil or rules.plain)}, {true(rules.plain)}, {self._where_plain(node, rules)}",
            *map(true, flags),
            *(str(_position(names, name)) for name in positions),
            f"{{{', '.join(self._checks(names, rules))}}}",
            self._after(rules),
        )
        return f"  {{{', '.join(cells)}}},\n"

    def _checks(self, names: list[str], rules: policy.Rules) -> Iterator[str]:
        if len(rules.check) > CHECKS:
            raise policy.PolicyError([f"{rules.check} are more than {CHECKS} checks for one function"])
        for name, parameter in rules.check.items():
            self.named["check"].add(name)
            yield f"{{check_{name}, {names.index(parameter)}}}"

    def _after(self, rules: policy.Rules) -> str:
        if not rules.after:
            return "nullptr"
        self.named["after"].add(rules.after)
        return rules.after

    def _doc(self, node: c_ast.Decl, names: list[str], hint: str | None) -> str:
        prototype = self.types.prototype(node)
        signature = f"{node.name}({', '.join(map(in_python, names))})\n--"
        warning = f"Deprecated: {hint}." if hint else ""
        return "\n\n".join(filter(None, (signature, prototype, comments.of(node), warning)))

    def text(self) -> str:
        """The header `function_table.h`."""
        kinds = [self._kind_row(name) for name in self.tracked]
        return (
            "// Generated by build_ffi.py from llama.cpp's headers and bindgen/policy.toml; do not edit.\n"
            "namespace llamacffi {\n\n"
            f"enum : uint8_t {{ no_kind{''.join(f', kind_of_{name}' for name in self.tracked)} }};\n"
            + table("kind_row", "handle_kinds", ["  {},\n", *kinds])
            + "\n".join(f"bool check_{name}(call &c, unsigned position);" for name in sorted(self.named["check"]))
            + "\n"
            + "\n".join(f"void {name}(call &c, const void *result);" for name in sorted(self.named["after"]))
            + "\n"
            + "\n".join(f"extent {end}(const call &c);" for end in self._formula_functions())
            + "\n"
            + self.values.text()
            + table("formula_row", "formula_rows", self.formulas)
            + table("bound_row", "bound_rows", self.bounds)
            + table("strings_row", "strings_rows", self.strings)
            + self.places.text()
            + table("parameter_row", "parameter_rows", self.parameters)
            + table("function_row", "function_rows", self.functions)
            + "\n}  // namespace llamacffi\n"
        )

    def _formula_functions(self) -> list[str]:
        return re.findall(r"^extent (\w+)\(", "".join(self.compiled), re.M)

    def formula_text(self) -> str:
        """The source `formulas.cpp`."""
        return (
            "// Generated by build_ffi.py from bindgen/policy.toml; do not edit.\n"
            '#include "checks/lengths.h"\n\nnamespace llamacffi {\n\n'
            + "\n".join(self.compiled)
            + "\n}  // namespace llamacffi\n"
        )

    def _kind_row(self, name: str) -> str:
        flags = ("known", "dies_with_owner", "lives_on", "exclusive")
        return f"  {{{', '.join([string(name), *(true(self.policy.kinds[name].get(flag)) for flag in flags)])}}},\n"


def in_python(name: str) -> str:
    """Spell a parameter's name as a program can write it: `as` is one of Python's own words."""
    return f"{name}_" if keyword.iskeyword(name) else name


def names(header: trim_header.Header) -> str:
    """Name each wrapper of the generated file once, for csrc/core/module.cpp to make its built-in functions of."""
    return "".join(f"LLAMACFFI_FUNCTION({node.name})\n" for node in c_api.functions(header))


def replacements(header: trim_header.Header, rules: policy.Policy) -> dict[str, policy.Rules]:
    """The rules of the C functions in whose place stands one of csrc/engine/."""
    found = {str(node.name): rules.of(node.name) for node in header.functions}
    return {name: own for name, own in found.items() if own.replaced_by}


def _position(names: list[str], name: str) -> int:
    return names.index(name) if name in names else NOWHERE
