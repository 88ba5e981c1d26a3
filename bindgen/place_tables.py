"""The rows of `function_table.h` that say where handles stand beside the arguments themselves: in arrays and structs.

And what a new object goes on reading of what it was made with.
"""

from __future__ import annotations

from collections.abc import Iterator

from bindgen import policy
from bindgen.c_types import Kind, Types
from bindgen.value_tables import ValueTables, string, table


class PlaceTables:
    """The rows, as they grow function by function."""

    def __init__(self, types: Types, rules: policy.Policy, values: ValueTables) -> None:
        self.types = types
        self.policy = rules
        self.values = values
        self.reads: list[str] = []
        self.places: list[str] = []

    def add(self, names: list[str], kinds: list[Kind], rules: policy.Rules) -> None:
        for read in rules.reads:
            self.reads += self._read(names, kinds, read)
        for position, kind in enumerate(kinds):
            self.places += self._places(position, kind, names, rules)

    def text(self) -> str:
        return table("read_row", "read_rows", self.reads) + table("place_row", "place_rows", self.places)

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
            if self.values.handle(own) != "no_kind":
                yield _place(position, self.values.handle(own), "ONE", offset, "0", ("void *", "0", "0"), field.name)
            elif field.name in arrays:
                count, end = arrays[field.name].get("count"), arrays[field.name].get("end", "")
                length = f"offsetof({kind.item}, {count})" if count else "0"
                for handle, item in self._items(own, end):
                    yield _place(position, handle, "COUNTED" if count else "ENDED", offset, length, item, field.name)
            elif (handle := self._handle_behind(own)) and not own.const:
                yield _place(position, handle, "OUT", offset, "0", ("void *", "0", "0"), field.name)

    def _items(self, array: Kind, end: str) -> Iterator[tuple[str, tuple[str, str, str]]]:
        """The handles in an item of an array: its kind; the item's type, where the handle stands, and what ends it."""
        if array.name == "POINTERS":
            yield self._handle_behind(array), ("void *", "0", "0")
            return
        struct = self.types.struct(array.python)
        for field in struct.decls if struct else ():
            handle = self.values.handle(self.types.kind(field.type))
            if handle != "no_kind":
                last = f"offsetof({array.item}, {end})" if end else "0"
                yield handle, (array.item, f"offsetof({array.item}, {field.name})", last)

    def _handle_behind(self, kind: Kind) -> str:
        """The kind of the handles in an array of them, or ''."""
        return f"kind_of_{kind.target}" if kind.target in self.values.tracked else ""


def _place(position: int, handle: str, how: str, field: str, count: str, item: tuple[str, str, str], name: str) -> str:
    kind, at, end = item
    return (
        f"  {{{position}, {handle}, ending::{how}, {field}, {count}, sizeof({kind}), {at}, {end}, {string(name)}}},\n"
    )
