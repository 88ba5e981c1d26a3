"""Write the tables that tell csrc/ what each function takes and gives, and what policy.toml says of it.

One row a parameter: its name and C type for error messages, its kind, which chooses the conversion, and its rules.
One row a function, with its rules. Sizes are left to the compiler. The rows are sorted by the function's name, since
csrc/ searches them at compile time; names in the rules have become positions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from pycparser import c_ast

from bindgen import policy, trim_header
from bindgen.c_types import Kind, Types, is_variadic, parameter_names, parameters

NOWHERE = -1  # in the place of a position
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
        self.reads: list[str] = []
        self.places: list[str] = []
        self.functions: list[str] = []
        self.named: dict[str, set[str]] = {"check": set(), "after": set()}
        for node in sorted(header.functions, key=lambda node: str(node.name)):
            if not is_variadic(node):
                self._add(node)

    def _add(self, node: c_ast.Decl) -> None:
        rules = self.policy.of(node.name)
        names = parameter_names(node)
        starts = tuple(map(len, (self.parameters, self.bounds, self.strings, self.reads, self.places)))
        kinds = [self.types.kind(parameter.type) for parameter in parameters(node)]
        for parameter, name, kind in zip(parameters(node), names, kinds, strict=True):
            self.parameters.append(self._parameter(node, parameter, name, kind, rules))
        for pointer, length in rules.bounds.items():
            if pointer in names:
                null = _true(pointer in rules.nullable)
                count = ONE_ITEM if length == 1 else names.index(str(length))
                self.bounds.append(f"  {{{names.index(pointer)}, {count}, {null}}},\n")
        for pointer, length in rules.strings.items():
            position = names.index(pointer)
            each = self._pointers_in(kinds[position])
            self.strings.append(f"  {{{position}, {names.index(length)}, {each}}},\n")
        for read in rules.reads:
            self.reads += self._read(names, kinds, read)
        for position, kind in enumerate(kinds):
            self.places += self._places(position, kind, names, rules)
        self.functions.append(self._function(node, names, rules, starts))

    def _read(self, names: list[str], kinds: list[Kind], read: str) -> Iterator[str]:
        name, _, field = read.partition(".")
        if name in names:
            position = names.index(name)
            offset = f"offsetof({kinds[position].item}, {field})" if field else "itself"
            if kinds[position].name == "POINTERS":
                offset = "all_items"
            yield f"  {{{position}, {offset}}},\n"

    def _places(self, position: int, kind: Kind, names: list[str], rules: policy.Rules) -> Iterator[str]:
        """Say where an argument that is no handle has some: an array of them, or fields of a struct."""
        if kind.name == "POINTERS" and kind.python == "c_void_p":
            length = rules.bounds.get(names[position])
            if (handle := self._handle_behind(kind)) and isinstance(length, str):
                count = names.index(length)
                yield _place(position, handle, "COUNTED", "itself", str(count), ("void *", "0", "0"), "")
        elif kind.name in ("VALUE", "STRUCT"):
            yield from self._places_in_struct(position, kind)

    def _places_in_struct(self, position: int, kind: Kind) -> Iterator[str]:
        struct = self.types.struct(kind.python)
        arrays = self.policy.structs.get(kind.python, {}).get("arrays", {})
        for field in struct.decls if struct else ():
            own = self.types.kind(field.type)
            offset = f"offsetof({kind.item}, {field.name})"
            if self._handle(own) != "no_kind":
                yield _place(position, self._handle(own), "ONE", offset, "0", ("void *", "0", "0"), field.name)
            elif field.name in arrays:
                count, end = arrays[field.name].get("count"), arrays[field.name].get("end", "")
                length = f"offsetof({kind.item}, {count})" if count else "0"
                for handle, item in self._items(own, end):
                    yield _place(position, handle, "COUNTED" if count else "ENDED", offset, length, item, field.name)

    def _items(self, array: Kind, end: str) -> Iterator[tuple[str, tuple[str, str, str]]]:
        """The handles in an item of an array: its kind; the item's type, where the handle stands, and what ends it."""
        if array.name == "POINTERS":
            yield self._handle_behind(array), ("void *", "0", "0")
            return
        struct = self.types.struct(array.python)
        for field in struct.decls if struct else ():
            handle = self._handle(self.types.kind(field.type))
            if handle != "no_kind":
                last = f"offsetof({array.item}, {end})" if end else "0"
                yield handle, (array.item, f"offsetof({array.item}, {field.name})", last)

    def _handle_behind(self, kind: Kind) -> str:
        """The kind of the handles in an array of them, or ''."""
        return f"kind_of_{kind.target}" if kind.target in self.tracked else ""

    def _pointers_in(self, kind: Kind) -> int:
        """How many pointers an item has: a struct's fields, or the item itself."""
        struct = self.types.struct(kind.python)
        return len(struct.decls) if struct else 1

    def _handle(self, kind: Kind) -> str:
        tracked = kind.name in ("HANDLE", "OBJECT") and kind.python in self.tracked
        return f"kind_of_{kind.python}" if tracked else "no_kind"

    def _parameter(self, node: c_ast.Decl, parameter: c_ast.Node, name: str, kind: Kind, rules: policy.Rules) -> str:
        freed = rules.frees == name and len(parameters(node)) == 1
        nullable = freed or name in rules.nullable
        bounded = name in rules.bounds
        texts = kind.name == "TEXT" or (kind.name == "STRUCT" and node.name.startswith(policy.CHECKED))
        required = texts and not nullable and not bounded
        keeping = "REPLACES" if name in rules.replaces else "KEEPS" if name in rules.keeps else "NOT"
        values = self.policy.enums.get(kind.item, {}).get("count", "0") if kind.name == "ENUM" else "0"
        cells = (
            _kind(kind),
            _string(parameter.name or ""),
            _string(self.types.unnamed(parameter.type)),
            self._handle(kind),
            *map(_true, (nullable, bounded, required)),
            f"keeping::{keeping}",
            f"access::{self._access(name, kind, rules)}",
            _true(name in rules.reenters),
            values,
        )
        return f"  {{{', '.join(cells)}}},\n"

    def _access(self, name: str, kind: Kind, rules: policy.Rules) -> str:
        if name in rules.looks or not self.policy.kinds.get(kind.python, {}).get("exclusive"):
            return "LOOKS"
        return "READS" if kind.const else "CHANGES"

    def _function(self, node: c_ast.Decl, names: list[str], rules: policy.Rules, starts: tuple[int, ...]) -> str:
        result = self.types.kind(node.type.type)
        hint = self.header.deprecated.get(node.name)
        first, *starting = starts
        grown = map(len, (self.bounds, self.strings, self.reads, self.places))
        ranges = ", ".join(f"{start}, {end - start}" for start, end in zip(starting, grown, strict=True))
        smpl, chain = next(iter(rules.takes.items()), ("", ""))
        with_attached = rules.with_attached or bool(rules.computes)
        flags = (rules.keeps_gil, rules.creates, rules.gives_back, with_attached)
        positions = (rules.owner, rules.frees, next(iter(rules.computes), ""), smpl, chain, rules.copies)
        cells = (
            _kind(result),
            _string(node.name),
            _string(self._doc(node, names, hint)),
            _string(hint) if hint else "nullptr",
            f"{first}, {len(names)}, {ranges}",
            self._handle(result),
            *map(_true, flags),
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
        doc = f"{node.name}({', '.join(names)}{', /' if names else ''})\n--\n\n{prototype}"
        return f"{doc}\n\nDeprecated: {hint}." if hint else doc

    def text(self) -> str:
        """The header `function_table.h`."""
        kinds = [self._kind_row(name) for name in self.tracked]
        return (
            "// Generated by build_ffi.py from llama.cpp's headers and bindgen/policy.toml; do not edit.\n"
            "namespace llamacffi {\n\n"
            f"enum : uint8_t {{ no_kind{''.join(f', kind_of_{name}' for name in self.tracked)} }};\n"
            + _table("kind_row", "handle_kinds", ["  {},\n", *kinds])
            + "\n".join(f"bool check_{name}(call &c, unsigned position);" for name in sorted(self.named["check"]))
            + "\n"
            + "\n".join(f"void {name}(call &c, const void *result);" for name in sorted(self.named["after"]))
            + "\n"
            + _table("bound_row", "bound_rows", self.bounds)
            + _table("strings_row", "strings_rows", self.strings)
            + _table("read_row", "read_rows", self.reads)
            + _table("place_row", "place_rows", self.places)
            + _table("parameter_row", "parameter_rows", self.parameters)
            + _table("function_row", "function_rows", self.functions)
            + "\n}  // namespace llamacffi\n"
        )

    def _kind_row(self, name: str) -> str:
        flags = ("known", "dies_with_owner", "lives_on", "exclusive")
        return f"  {{{', '.join([_string(name), *(_true(self.policy.kinds[name].get(flag)) for flag in flags)])}}},\n"


def names(header: trim_header.Header) -> str:
    """Name each wrapper of the generated file once, for csrc/core/module.cpp to make its built-in functions of."""
    fixed = sorted(str(node.name) for node in header.functions if not is_variadic(node))
    return "".join(f"LLAMACFFI_FUNCTION({name})\n" for name in fixed)


def replacements(header: trim_header.Header, rules: policy.Policy) -> dict[str, policy.Rules]:
    """The rules of the C functions in whose place stands one of csrc/engine/."""
    found = {str(node.name): rules.of(node.name) for node in header.functions}
    return {name: own for name, own in found.items() if own.replaced_by}


def _table(row: str, name: str, rows: Iterable[str]) -> str:
    return f"\ninline constexpr {row} {name}[] = {{\n{''.join(rows)}}};\n"


def _place(position: int, handle: str, how: str, field: str, count: str, item: tuple[str, str, str], name: str) -> str:
    kind, at, end = item
    return (
        f"  {{{position}, {handle}, ending::{how}, {field}, {count}, sizeof({kind}), {at}, {end}, {_string(name)}}},\n"
    )


def _position(names: list[str], name: str) -> int:
    return names.index(name) if name in names else NOWHERE


def _kind(kind: Kind) -> str:
    size = f"sizeof({kind.item})" if kind.name not in ("VOID", "HANDLE", "FUNCTION") else "0"
    underlying = f"std::underlying_type_t<{kind.item}>" if kind.name == "ENUM" else kind.item
    shape = f"shape_of<{underlying}>()" if kind.name in ("ITEMS", "NUMBER", "ENUM") else "0"
    return f"{{type_kind::{kind.name}, {size}, {shape}, {_true(kind.const)}, {_string(kind.python)}}}"


def _true(value: object) -> str:
    return "true" if value else "false"


def _string(text: str) -> str:
    return json.dumps(text)
