"""The rows of `function_table.h` that say what values are good: enums, structs, fields; and how a row is spelled.

A field's row has what a parameter's row has, and where in the struct it is, so that what holds for an argument can hold
for a field.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from bindgen import formulas, policy, trim_header
from bindgen.c_types import Kind, Types
from bindgen.fields import Field, fields, structs_taken

NOWHERE = -1  # in the place of a position


class ValueTables:
    """Enums, and the structs that functions take."""

    def __init__(self, header: trim_header.Header, types: Types, rules: policy.Policy, tracked: list[str]) -> None:
        self.types = types
        self.policy = rules
        self.tracked = tracked
        self._fields: list[str] = []
        self._positions = {name: row for row, name in enumerate(structs_taken(types, header.functions))}
        self._structs = [self._struct(name) for name in self._positions]

    def handle(self, kind: Kind) -> str:
        tracked = kind.name in ("HANDLE", "OBJECT") and kind.python in self.tracked
        return f"kind_of_{kind.python}" if tracked else "no_kind"

    def struct(self, kind: Kind) -> str:
        """Where the row is of the struct that a parameter or a field has, or points to."""
        return str(self._positions.get(kind.python, NOWHERE) if kind.name in ("STRUCT", "VALUE") else NOWHERE)

    def enum(self, kind: Kind) -> str:
        """Where the row is of an enum of which only some values are good."""
        rules = self.policy.enums.get(kind.item, {}) if kind.name == "ENUM" else {}
        return f"&enum_rows[{[*self.policy.enums].index(kind.item)}]" if rules.keys() - {"reason"} else "nullptr"

    def _struct(self, name: str) -> str:
        """A struct's row, behind the rows of its fields."""
        first, spelled = len(self._fields), self.types.spelled(name)
        rules = self.policy.structs.get(name, {})
        found = fields(self.types, name)
        self._fields += [self._field(spelled, field, rules) for field in found]
        end = f"offsetof({spelled}, {rules['ends_with']})" if "ends_with" in rules else "SIZE_MAX"
        checked = any(self._is_checked(field, rules) for field in found)
        return f"  {{{string(name)}, {first}, {len(found)}, sizeof({spelled}), {end}, {true(checked)}}},\n"

    def _is_checked(self, field: Field, rules: dict[str, Any]) -> bool:
        said = field.name in rules.get("limits", {}) or field.name in rules.get("required", ())
        return said or self.enum(field.kind) != "nullptr"

    def _field(self, struct: str, field: Field, rules: dict[str, Any]) -> str:
        cells = (
            type_cells(field.kind),
            string(field.name),
            string(field.c_type),
            f"offsetof({struct}, {field.name})",
            self.handle(field.kind),
            self.struct(field.kind),
            true(field.name in rules.get("required", ())),
            self.enum(field.kind),
            *limit_cells(rules.get("limits", {}).get(field.name)),
            formulas.constant(rules["unset"][field.name]) if field.name in rules.get("unset", {}) else "INT64_MIN",
        )
        return f"  {{{', '.join(cells)}}},\n"

    def _enum_row(self, enum: str) -> str:
        rules = self.policy.enums[enum]
        named = self.types.enumerators(enum) if rules.get("named") else []
        good = f"good_{rules['good']}" if "good" in rules else "nullptr"
        values = f"values_of_{enum.split()[-1]}" if named else "nullptr"
        return f"  {{{string(enum)}, {rules.get('count', 0)}, {values}, {len(named)}, {good}}},\n"

    def _enum_values(self) -> str:
        """What the rows of the enums refer to."""
        text = ""
        for enum, rules in self.policy.enums.items():
            if rules.get("named"):
                values = ", ".join(f"static_cast<long long>({one})" for one in self.types.enumerators(enum))
                text += f"inline constexpr long long values_of_{enum.split()[-1]}[] = {{{values}}};\n"
            if "good" in rules:
                text += f"bool good_{rules['good']}(long long value);\n"
        return text

    def text(self) -> str:
        return (
            self._enum_values()
            + table("enum_row", "enum_rows", [self._enum_row(enum) for enum in self.policy.enums])
            + table("field_row", "field_rows", self._fields)
            + table("struct_row", "struct_rows", self._structs)
        )


# ---------------------------------------------------------------- how a row is spelled


def table(row: str, name: str, rows: Iterable[str]) -> str:
    return f"\ninline constexpr {row} {name}[] = {{\n{''.join(rows)}}};\n"


def true(value: object) -> str:
    return "true" if value else "false"


def string(text: str) -> str:
    return json.dumps(text)


def type_cells(kind: Kind) -> str:
    """The row of a C type."""
    size = f"sizeof({kind.item})" if kind.name not in ("VOID", "HANDLE", "FUNCTION") else "0"
    underlying = f"std::underlying_type_t<{kind.item}>" if kind.name == "ENUM" else kind.item
    shape = f"shape_of<{underlying}>()" if kind.name in ("ITEMS", "NUMBER", "ENUM") else "0"
    return f"{{type_kind::{kind.name}, {size}, {shape}, {true(kind.const)}, {string(kind.python)}}}"


def are_constant(limits: Iterable[formulas.Value]) -> bool:
    return all(formulas.is_constant(end) for end in limits)


def limit_cells(limits: Sequence[formulas.Value] | None) -> tuple[str, str]:
    """The two ends of what is good, where they are known at compile time."""
    if limits is None or not are_constant(limits):
        return "INT64_MIN", "INT64_MAX"
    return formulas.constant(limits[0]), formulas.constant(limits[1])
