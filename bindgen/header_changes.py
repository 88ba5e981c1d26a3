"""Compare the headers of two llama.cpp: what came, what went, what changed its declaration, layout, value or comment.

`facts` reads one checkout; `report` writes what differs between two. third_party/llama.cpp/update.py prints it.
"""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
from collections.abc import Iterator
from typing import TypeVar

from pycparser import c_ast

from bindgen import c_facts, comments, trim_header
from bindgen.c_types import Types


@dataclasses.dataclass(frozen=True)
class Facts:
    """What one set of headers says, by name; a field is called `STRUCT.FIELD`.

    `declarations` are spelled in C, or '' for what has nothing but a name. `owners` have the struct or enum of each
    field and enumerator.
    """

    declarations: dict[str, str]
    owners: dict[str, str]
    layouts: c_facts.Facts
    values: c_facts.Facts
    comments: dict[str, str]


def facts(source: pathlib.Path) -> Facts:
    """Read the headers of the llama.cpp checkout `source`, and ask the compiler."""
    header = trim_header.trim(source)
    types = Types(header.nodes)
    found = [*_named(header, types)]
    owners = {name: owner for name, owner, _, _ in found if owner}
    structs: dict[str, list[str]] = {types.spelled(types.name(one)): [] for one in types.structs if types.name(one)}
    for name, owner in owners.items():
        if owner in structs:
            structs[owner].append(name.removeprefix(f"{owner}."))
    fields = {name for name, owner in owners.items() if owner in structs}
    constants = [name for name, _, _, node in found if name not in fields and _has_value(node)]
    return Facts(
        declarations=dict.fromkeys(header.defines, "") | {name: text for name, _, text, _ in found},
        owners=owners,
        layouts=c_facts.layouts(source, structs),
        values=c_facts.values(source, header.defines, constants),
        comments={name: comments.of(node) for name, _, _, node in found},
    )


Named = tuple[str, str, str, c_ast.Node]  # name, owner, declaration, node


def _named(header: trim_header.Header, types: Types) -> Iterator[Named]:
    """Yield all that has a name."""
    for node in header.nodes:
        if trim_header.is_function(node):
            yield node.name, "", types.prototype(node), node
        elif isinstance(node, c_ast.Typedef):
            yield node.name, "", "" if _defines(node) else types.text(node), node
        elif node.name:  # a constant; its value comes from the compiler
            yield node.name, "", "", node
        yield from _members(node, types)


def _defines(node: c_ast.Node) -> bool:
    """Tell whether a typedef holds its struct or enum itself."""
    end = node.type.type
    return bool(getattr(end, "decls", None) or getattr(end, "values", None))


def _members(node: c_ast.Node, types: Types) -> Iterator[Named]:
    """Yield the struct or enum that a declaration defines, with its fields or enumerators."""
    end = node.type if isinstance(node.type, c_ast.Struct | c_ast.Enum) else getattr(node.type, "type", None)
    if isinstance(end, c_ast.Struct) and end.decls:
        struct = types.spelled(types.name(end))
        yield struct, "", "", node
        for field in _fields(end):
            yield f"{struct}.{field.name}", struct, types.text(field), field
    elif isinstance(end, c_ast.Enum) and end.values:
        enum = f"enum {end.name}" if end.name else str(node.name or "")
        if enum:
            yield enum, "", "", node
        for one in end.values.enumerators:
            yield one.name, enum, "", one


def _fields(struct: c_ast.Node) -> Iterator[c_ast.Node]:
    """Yield the fields; those of an unnamed struct or union count as its owner's."""
    for field in struct.decls:
        if field.name:
            yield field
        else:
            yield from _fields(field.type)


def _has_value(node: c_ast.Node) -> bool:
    if isinstance(node, c_ast.Enumerator):
        return True
    return isinstance(node, c_ast.Decl) and bool(node.name) and not trim_header.is_function(node)


# ---------------------------------------------------------------- what differs

T = TypeVar("T")


def report(old: Facts, new: Facts) -> str:
    """Return what differs, a section for each kind of change, or a sentence that says that nothing does."""
    sections = {
        "came": [*_only(new, old)],
        "went": [*_only(old, new)],
        "declaration": [*_reworded(old.declarations, new.declarations)],
        "layout": [*_layouts(old.layouts, new.layouts)],
        "value": [f"{name}: {was[0]} -> {now[0]}" for name, was, now in _differing(old.values, new.values)],
        "comment": [*_reworded(old.comments, new.comments)],
    }
    told = "\n".join(section(title, lines) for title, lines in sections.items() if lines)
    return told or "The headers declare the same, with the same comments.\n"


def section(title: str, lines: list[str]) -> str:
    """Write lines below a title that counts them."""
    return f"{title} ({len(lines)}):\n" + "".join(f"  {line}\n" for line in lines)


def _only(one: Facts, other: Facts) -> Iterator[str]:
    """Name what only one has, with its declaration; members whose owner came or went too are left out."""
    for name, text in one.declarations.items():
        owner = one.owners.get(name)
        if name not in other.declarations and (not owner or owner in other.declarations):
            of = f" (of {owner})" if owner and not name.startswith(owner) else ""
            yield f"{name}{of}" + (f": {text}" if text else "")


def _differing(old: dict[str, T], new: dict[str, T]) -> Iterator[tuple[str, T, T]]:
    """Yield the names that both have, where what they have differs."""
    return ((name, old[name], now) for name, now in new.items() if name in old and old[name] != now)


def _reworded(old: dict[str, str], new: dict[str, str]) -> Iterator[str]:
    """Tell of each name the lines that went and came."""
    for name, was, now in _differing(old, new):
        lines = difflib.ndiff(was.splitlines(), now.splitlines())
        yield "\n    ".join([f"{name}:", *(line for line in lines if line.startswith(("- ", "+ ")))])


def _layouts(old: c_facts.Facts, new: c_facts.Facts) -> Iterator[str]:
    """Tell of each struct that both have its sizes, and the fields that moved or changed their size."""
    changed: dict[str, list[str]] = {}
    for name, was, now in _differing(old, new):
        struct, _, field = name.partition(".")
        if not field:
            told = f"{was[0]} -> {now[0]} bytes"
        elif was[1] != now[1]:
            told = f"{field} {was[1]} -> {now[1]} bytes"
        else:
            told = f"{field} moved {was[0]} -> {now[0]}"
        changed.setdefault(struct, []).append(told)
    return (f"{struct}: {', '.join(told)}" for struct, told in changed.items())
