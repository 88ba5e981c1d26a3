"""A grammar made of a JSON schema lets through what the schema lets through, and nothing else.

Random tokens that the grammar allows are put together, which is what a model without any sense would write; what comes
out is judged by `json` and by a condition written down beside the schema.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import llamacffi
from llamacffi import json_schema
from llamacffi import llama_cpp as llama
from support import tiny_model

MOST = 4000  # tokens of a text
OVERLONG = [tiny_model.BYTES + byte for byte in (0xE0, 0xF0)]  # llama.cpp takes more after these than UTF-8 has
CLOSING = [tiny_model.BYTES + ord(character) for character in '"]}']

TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "boolean"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["value", "next"],
        }
    },
}
PERSON = {
    "title": "Person",
    "type": "object",
    "properties": {
        "nick": {"type": "string", "maxLength": 3},
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "age": {"type": "integer"},
        "size": {"type": "number"},
    },
    "required": ["name", "size"],
    "additionalProperties": False,
}


def is_person(value: Any) -> bool:
    return (
        {"name", "size"} <= value.keys() <= {"nick", "name", "age", "size"}
        and 1 <= len(value["name"]) <= 5
        and isinstance(value.get("nick", ""), str)
        and len(value.get("nick", "")) <= 3
        and isinstance(value.get("age", 0), int)
        and isinstance(value["size"], (int, float))
    )


def is_tree(value: Any) -> bool:
    return value is None or (
        value.keys() == {"value", "next"} and isinstance(value["value"], bool) and is_tree(value["next"])
    )


def is_list_of(kind: type, least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, list) and least <= len(value) <= most and all(type(item) is kind for item in value)
    )


# A schema, what its values are, and some of them.
SCHEMAS: dict[str, tuple[Any, Callable[[Any], bool], list[Any]]] = {
    "anything": ({}, lambda value: True, [1, "x", {"a": [None, {"b": -1.5e3}]}, []]),
    "true": (True, lambda value: True, [None]),
    "null": ({"type": "null"}, lambda value: value is None, [None]),
    "boolean": ({"type": "boolean"}, lambda value: isinstance(value, bool), [True, False]),
    "integer": ({"type": "integer"}, lambda value: type(value) is int, [0, -7, 1234567890123456]),
    "number": ({"type": "number"}, lambda value: isinstance(value, (int, float)), [0, -0.5, 1e-05, 12.25]),
    "string": ({"type": "string"}, lambda value: isinstance(value, str), ["", 'a "quoted" \\ \n ü 😀']),
    "short string": (
        {"type": "string", "minLength": 2, "maxLength": 4},
        lambda value: 2 <= len(value) <= 4,
        ["ab", "äöü😀"],
    ),
    "several types": (
        {"type": ["string", "null"], "maxLength": 2},
        lambda value: value is None or len(value) <= 2,
        [None, "x"],
    ),
    "enum": (
        {"enum": ["a b", 3, None, {"k": [1]}, "ü\n"]},
        lambda value: value in ["a b", 3, None, {"k": [1]}, "ü\n"],
        [3, None, "a b"],
    ),
    "const": ({"const": 'x"y'}, lambda value: value == 'x"y', ['x"y']),
    "one of": ({"oneOf": [{"type": "null"}, {"const": 5}]}, lambda value: value in (None, 5), [None, 5]),
    "all of one": ({"allOf": [{"type": "null"}], "description": "d"}, lambda value: value is None, [None]),
    "array": ({"type": "array", "items": {"type": "integer"}}, is_list_of(int, 0, MOST), [[], [1], [1, 2, 3]]),
    "array of two or three": (
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
        is_list_of(bool, 2, 3),
        [[True, False], [True] * 3],
    ),
    "array of one at most": ({"items": {"type": "null"}, "maxItems": 1}, is_list_of(type(None), 0, 1), [[], [None]]),
    "array of none": ({"type": "array", "maxItems": 0}, lambda value: value == [], [[]]),
    "tuple": (
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": False, "minItems": 1},
        lambda value: 1 <= len(value) <= 2 and type(value[0]) is int and all(type(item) is bool for item in value[1:]),
        [[1], [2, True]],
    ),
    "tuple and more": (
        {"prefixItems": [{"type": "integer"}], "items": {"type": "null"}, "minItems": 2, "maxItems": 3},
        lambda value: 2 <= len(value) <= 3 and type(value[0]) is int and set(value[1:]) == {None},
        [[1, None], [1, None, None]],
    ),
    "person": (PERSON, is_person, [{"name": "Al", "size": 1.5}, {"nick": "A", "name": "Al", "age": 3, "size": 2}]),
    "all optional": (
        {"properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}}},
        lambda value: value.keys() <= {"a", "b", "c"},
        [{}, {"b": None}, {"a": None, "c": None}, {"a": None, "b": None, "c": None}],
    ),
    "map": (
        {"type": "object", "additionalProperties": {"type": "integer"}},
        lambda value: isinstance(value, dict) and all(type(item) is int for item in value.values()),
        [{}, {"x": 1, "y": 2}],
    ),
    "empty object": ({"type": "object", "additionalProperties": False}, lambda value: value == {}, [{}]),
    "tree": (TREE, is_tree, [{"value": True, "next": {"value": False, "next": None}}]),
    "definitions": (
        {"definitions": {"a/b": {"const": 1}}, "$ref": "#/definitions/a~1b"},
        lambda value: value == 1,
        [1],
    ),
}


def sampler_of(vocab: Any, schema: Any) -> Any:
    sampler = llama.llama_sampler_init_grammar(vocab, json_schema.grammar(schema), "root")
    assert sampler, llamacffi.last_error()
    return sampler


def written(vocab: Any, schema: Any, seed: int) -> str:
    """Put tokens together by chance, of those that the grammar allows; closing ones are likelier, so that it ends."""
    sampler, random, text = sampler_of(vocab, schema), np.random.default_rng(seed), b""
    for _ in range(MOST):
        token = allowed(sampler, random)
        if llama.llama_vocab_is_eog(vocab, token):
            return text.decode()
        llama.llama_sampler_accept(sampler, token)
        piece = bytearray(32)
        text += piece[: llama.llama_token_to_piece(vocab, token, piece, len(piece), 0, False)]
    raise AssertionError(f"has not come to an end: {text!r}")


def allowed(sampler: Any, random: np.random.Generator) -> int:
    logits = random.gumbel(size=tiny_model.N_VOCAB)
    logits[CLOSING] += 4
    logits[OVERLONG] = -np.inf
    data = (llama.llama_token_data * len(logits))(*[(token, logit, 0.0) for token, logit in enumerate(logits)])
    array = llama.llama_token_data_array(data=data, size=len(data), selected=-1)
    llama.llama_sampler_apply(sampler, ctypes.byref(array))
    return int(max(data, key=lambda one: one.logit).id)


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("seed", range(4))
def test_what_comes_out_is_what_the_schema_describes(name: str, seed: int, vocab: Any) -> None:
    schema, fits, _ = SCHEMAS[name]
    text = written(vocab, schema, seed)
    assert fits(json.loads(text)), text


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", SCHEMAS)
def test_what_json_writes_of_a_value_is_let_through(name: str, indent: int | None, vocab: Any) -> None:
    """In one line, and indented as models like to write it."""
    schema, _, values = SCHEMAS[name]
    for value in values:
        assert lets_through(vocab, schema, json.dumps(value, indent=indent, ensure_ascii=False)), value


def lets_through(vocab: Any, schema: Any, text: str) -> bool:
    """Tell whether a text is a whole one of the grammar: each byte is a token of the tiny model."""
    sampler = sampler_of(vocab, schema)
    try:
        for byte in text.encode():
            llama.llama_sampler_accept(sampler, tiny_model.BYTES + byte)
        llama.llama_sampler_accept(sampler, tiny_model.END)
    except llamacffi.LlamaError:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("person", '{"size": 1, "name": "Al"}'),
        ("person", '{"name": "Al"}'),
        ("person", '{"name": "Al", "size": 1, "more": 2}'),
        ("person", '{"name": "", "size": 1}'),
        ("integer", "1.5"),
        ("integer", "01"),
        ("string", '"a\nb"'),
        ("string", r'"\ud800"'),
        ("array of two or three", "[true]"),
        ("array of two or three", "[true, true, true, true]"),
        ("tuple", "[1, true, true]"),
        ("enum", '"a"'),
        ("tree", '{"value": true}'),
    ],
)
def test_what_the_schema_does_not_describe_is_not_let_through(name: str, text: str, vocab: Any) -> None:
    """The properties of an object have the schema's order, which the grammar asks for as well."""
    assert not lets_through(vocab, SCHEMAS[name][0], text)


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"type": "integer", "minimum": 3}, "minimum at # cannot be followed"),
        ({"type": "string", "pattern": "a*"}, "pattern at # cannot be followed"),
        ({"properties": {"a": {"format": "date"}}}, "format at #/properties/a cannot be followed"),
        ({"items": {"not": {}}}, "not at #/items cannot be followed"),
        ({"type": "string", "maximum": 3}, "maximum at # cannot be followed"),
        ({"anyOf": [{"type": "null"}], "type": "null"}, "type at # cannot be followed"),
        ({"allOf": [{}, {}]}, "#/allOf with more than one schema"),
        ({"type": "text"}, '#/type should be one of object, array, string, number, integer, boolean, null, not "text"'),
        ({"$ref": "https://example.com/x"}, "#/$ref should name a place in the schema itself"),
        ({"$ref": "#/$defs/x"}, "#/$ref names #/$defs/x, which is not there"),
        ({"required": ["a"]}, "#/required names a, which properties lack"),
        ({"minItems": 2, "maxItems": 1}, "#/maxItems is less than minItems"),
        ({"minLength": -1}, "#/minLength should be a number from 0, not -1"),
        ({"items": 3}, "#/items should be an object or true, not 3"),
        ({"enum": []}, "#/enum should be a list of values"),
        (False, "# should be an object or true, not false"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name_and_place(schema: Any, sentence: str) -> None:
    with pytest.raises(json_schema.SchemaError) as raised:
        json_schema.grammar(schema)
    assert sentence in str(raised.value)
