"""Turns a JSON schema into a grammar (GBNF) that llama.cpp samples by: what it lets through is valid.

The grammar may be narrower than the schema: an object has the properties that the schema names, in its order, and no
others; where there is a choice, `oneOf` is as `anyOf`. What cannot be followed is refused by its name, not ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Rules of JSON itself, by name; GAP is the white space that models are used to write.
GAP = "gap"
RULES = {
    GAP: r'"\n"? " "{0,8}',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,15})',
    "number": 'integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?',
    # Ranges, not what they leave out: llama.cpp would let bytes through that are no UTF-8.
    "char": r'[ !#-\x5B\x5D-~\u0080-\uD7FF\uE000-\uFFFF\U00010000-\U0010FFFF] | "\\" (["\\/bfnrt] | "u" unit)',
    "unit": "[0-9A-Ca-cE-Fe-f] hex{3} | [Dd] [0-7] hex{2}",  # no half of a surrogate pair
    "hex": "[0-9A-Fa-f]",
    "string": r'"\"" char* "\""',
    "array": '"[" gap (value (gap "," gap value)*)? gap "]"',
    "object": '"{" gap (string gap ":" gap value (gap "," gap string gap ":" gap value)*)? gap "}"',
    "value": "object | array | string | number | boolean | null",
}

# Keywords that say nothing about what is valid, or nothing that the grammar would not keep.
REMARKS = {
    "$anchor", "$comment", "$defs", "$id", "$schema", "contentMediaType", "default", "definitions", "deprecated",
    "description", "discriminator", "example", "examples", "readOnly", "title", "writeOnly",
}  # fmt: skip
OF_TYPES: dict[str, set[str]] = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "string": {"minLength", "maxLength"},
    "number": set(),
    "integer": set(),
    "boolean": set(),
    "null": set(),
}


class SchemaError(ValueError):
    """The schema is none, or has what the grammar cannot follow; the text names it and its place."""


def grammar(schema: Any) -> str:
    """Make a grammar of a JSON schema.

    Args:
        schema: what `json.loads` gives of it; `True` or `{}` is any JSON.

    Returns:
        GBNF for `llama_sampler_init_grammar`, whose start is the rule `root`.

    Raises:
        SchemaError: it has a keyword, a type or a reference that cannot be followed.
    """
    return _Grammar(schema).text()


class _Grammar:
    """The rules, while they are made."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._rules: dict[str, str] = {}
        self._references: dict[str, str] = {}

    def text(self) -> str:
        self._rules["root"] = self.of(self._schema, "#")
        return "\n".join(f"{name} ::= {rule}" for name, rule in (self._rules | RULES).items()) + "\n"

    def of(self, schema: Any, place: str) -> str:
        """Return what a schema is in a rule: the place is where it stands, for errors."""
        if schema is True:
            return "value"
        if not isinstance(schema, Mapping):
            raise SchemaError(f"{place} should be an object or true, not {json.dumps(schema)}")
        for keyword, make in COMBINATIONS.items():
            if keyword in schema:
                _refuse_others(schema, {keyword}, place)
                return make(self, schema[keyword], f"{place}/{keyword}")
        kinds = schema.get("type", _guessed(schema))
        if not isinstance(kinds, list):
            return self.typed(kinds, schema, place)
        _refuse_others(schema, {"type"}.union(*(OF_TYPES.get(kind, set()) for kind in kinds)), place)
        return _choice([self.typed(kind, _only(schema, kind), place) for kind in kinds])

    def typed(self, kind: str | None, schema: Mapping[str, Any], place: str) -> str:
        """Return what a schema of one type is; None is any."""
        if kind is not None and kind not in OF_TYPES:
            raise SchemaError(f"{place}/type should be one of {', '.join(OF_TYPES)}, not {json.dumps(kind)}")
        _refuse_others(schema, {"type", *OF_TYPES.get(kind or "", ())}, place)
        if kind == "object":
            return self.object(schema, place)
        if kind == "array":
            return self.array(schema, place)
        if kind == "string":
            return _string(schema, place)
        return kind or "value"

    def object(self, schema: Mapping[str, Any], place: str) -> str:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if unknown := [name for name in required if name not in properties]:
            raise SchemaError(f"{place}/required names {', '.join(unknown)}, which properties lack")
        if not properties:
            return self.mapping(schema.get("additionalProperties", True), place)
        pairs = [
            (f'{_literal(name)} gap ":" gap {self.of(value, f"{place}/properties/{name}")}', name in required)
            for name, value in properties.items()
        ]
        return f'"{{" gap {self.rule(_members(pairs, self.rule))} gap "}}"'

    def mapping(self, values: Any, place: str) -> str:
        """Return an object of any names."""
        if values is False:
            return '"{" gap "}"'
        pair = self.rule(f'string gap ":" gap {self.of(values, f"{place}/additionalProperties")}')
        return f'"{{" gap ({pair} (gap "," gap {pair})*)? gap "}}"'

    def array(self, schema: Mapping[str, Any], place: str) -> str:
        first = [self.of(item, f"{place}/prefixItems/{n}") for n, item in enumerate(schema.get("prefixItems", ()))]
        least, most = _bounds(schema, "minItems", "maxItems", place)
        items = schema.get("items", True)
        if items is False:
            most = min(len(first), len(first) if most is None else most)
            items = True
        item = self.rule(self.of(items, f"{place}/items"))
        return f'"[" gap {self.rule(_items(first, item, least, most))} gap "]"'

    def reference(self, pointer: Any, place: str) -> str:
        """Return the rule of what a reference names, which may name itself in it."""
        if pointer not in self._references:
            target = _target(self._schema, pointer, place)
            name = self._references[pointer] = f"ref-{len(self._references)}"
            self._rules[name] = self.of(target, pointer)
        return self._references[pointer]

    def rule(self, text: str) -> str:
        """Give a rule of its own to what is used more than once, or is long."""
        for name, known in self._rules.items():
            if known == text:
                return name
        name = f"rule-{len(self._rules)}"
        self._rules[name] = text
        return name


# ---------------------------------------------------------------- combinations


def _any_of(made: _Grammar, schemas: Any, place: str) -> str:
    if not isinstance(schemas, list) or not schemas:
        raise SchemaError(f"{place} should be a list of schemas")
    return _choice([made.of(schema, f"{place}/{number}") for number, schema in enumerate(schemas)])


def _all_of(made: _Grammar, schemas: Any, place: str) -> str:
    if not isinstance(schemas, list) or len(schemas) != 1:
        raise SchemaError(f"{place} with more than one schema cannot be followed: write one schema that says it all")
    return made.of(schemas[0], f"{place}/0")


def _enum(_made: _Grammar, values: Any, place: str) -> str:
    if not isinstance(values, list) or not values:
        raise SchemaError(f"{place} should be a list of values")
    return _choice([_literal(value) for value in values])


COMBINATIONS: dict[str, Callable[[_Grammar, Any, str], str]] = {
    "$ref": _Grammar.reference,
    "anyOf": _any_of,
    "oneOf": _any_of,
    "allOf": _all_of,
    "enum": _enum,
    "const": lambda _made, value, _place: _literal(value),
}


def _choice(texts: Sequence[str]) -> str:
    return f"({' | '.join(texts)})"


def _literal(value: Any) -> str:
    """Quote for GBNF what a value is in JSON."""
    return json.dumps(json.dumps(value, ensure_ascii=False), ensure_ascii=False)


def _target(schema: Any, pointer: Any, place: str) -> Any:
    """Follow a reference into the schema itself."""
    if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
        raise SchemaError(f"{place} should name a place in the schema itself, such as #/$defs/name, not {pointer!r}")
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(schema, Mapping) or name not in schema:
            raise SchemaError(f"{place} names {pointer}, which is not there")
        schema = schema[name]
    return schema


# ---------------------------------------------------------------- types


def _guessed(schema: Mapping[str, Any]) -> str | None:
    """Return the type that a schema without one is about, by its keywords."""
    return next((kind for kind, keywords in OF_TYPES.items() if keywords & schema.keys()), None)


def _only(schema: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Leave out of a schema of several types what is said of others."""
    return {key: value for key, value in schema.items() if key in OF_TYPES.get(kind, ())}


def _refuse_others(schema: Mapping[str, Any], known: set[str], place: str) -> None:
    if others := sorted(schema.keys() - known - REMARKS):
        raise SchemaError(f"{others[0]} at {place} cannot be followed: leave it out, and check what comes")


def _bounds(schema: Mapping[str, Any], least: str, most: str, place: str) -> tuple[int, int | None]:
    found = (schema.get(least, 0), schema.get(most))
    for name, value in zip((least, most), found, strict=True):
        if value is not None and (not isinstance(value, int) or value < 0):
            raise SchemaError(f"{place}/{name} should be a number from 0, not {json.dumps(value)}")
    if found[1] is not None and found[1] < found[0]:
        raise SchemaError(f"{place}/{most} is less than {least}: no value fits")
    return found


def _string(schema: Mapping[str, Any], place: str) -> str:
    least, most = _bounds(schema, "minLength", "maxLength", place)
    if least == 0 and most is None:
        return "string"
    return rf'"\"" char{_times(least, most)} "\""'


def _times(least: int, most: int | None) -> str:
    return f"{{{least},{'' if most is None else most}}}"


def _members(pairs: Sequence[tuple[str, bool]], rule: Callable[[str], str]) -> str:
    """Return the members of an object: what is not required may be missing, and a comma stands between two."""
    rest = ""  # what may follow a member, with its comma
    alone = ""  # what the object may be from here on, without one
    for pair, required in reversed(pairs):
        begun = f"{pair} {rest}".rstrip()
        alone = begun if required else _either(rule(begun), alone)
        after = f'gap "," gap {pair}'
        rest = rule(f"{after} {rest}".rstrip() if required else f"({after})? {rest}".rstrip())
    return alone


def _either(first: str, second: str) -> str:
    return f"({first} | {second})" if second else f"({first})?"


def _items(first: Sequence[str], item: str, least: int, most: int | None) -> str:
    """Return the items of an array: the first ones are of schemas of their own."""
    head = list(first[: most if most is not None else None])
    missing = max(least - len(head), 0)
    room = None if most is None else most - len(head)
    tail = f'(gap "," gap {item}){_times(max(missing, 0), room)}'
    if head:
        return _cut_short(head, least, "" if room == 0 else tail)
    if room == 0:
        return '""'
    more = f'(gap "," gap {item}){_times(max(least - 1, 0), None if most is None else most - 1)}'
    return f"{item} {more}" if least else f"({item} {more})?"


def _cut_short(head: list[str], least: int, tail: str) -> str:
    """Return an array that may end within its first items, but not before the least number."""
    text = tail
    for number in range(len(head) - 1, -1, -1):
        text = f"{head[number]} {text}".rstrip() if number == 0 else f'gap "," gap {head[number]} {text}'.rstrip()
        text = text if number < least else f"({text})?"
    return text
