"""What the policy calls `plain` has a short way through the border: it gives what the long way gives, or nothing.

A handle in a `c_void_p`, a number of NumPy's and a memoryview go the long way. Everything runs in a child process,
since a function that is called plain and asserts would end it.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from llamacffi._llama import functions

from bindgen import policy
from llamacffi import LlamaError, LlamaValueError, llama_cpp
from support import tiny_model
from support.cells import refused, returns
from support.objects import context_of, ints, load

RULES = policy.load()
PLAIN = sorted(name for name in functions if RULES.of(name).plain)
INTEGERS = (0, 1, 2, 7, 258, 274, 275, -1, 2**31 - 1, -(2**31), 2**31, 2**40)
N_TOKENS = 8


def without_vocabulary(folder: Path) -> Any:
    """A model with no tokens, no tensors and no layers."""
    writer = gguf.GGUFWriter(folder / "bare.gguf", "llama")
    tiny_model.describe(writer, tiny_model.Shape(layers=0))
    writer.add_tokenizer_model("no_vocab")
    tiny_model.finish(writer)
    return load(folder / "bare.gguf", vocab_only=True)


def objects_of(model: Any) -> Iterator[dict[str, Any]]:
    """What the parameters of plain functions are, for a model and contexts of it."""
    given = {"model": model, "vocab": llama_cpp.llama_model_get_vocab(model)}
    given |= {"tokens": ints(*range(N_TOKENS)), "n_tokens": N_TOKENS}
    for token in INTEGERS:
        yield {**given, "token": token}


def long_way(value: Any, name: str) -> Any:
    """The same argument as something that the short way does not take."""
    if name == "tokens":
        return memoryview(value)
    return np.int64(value) if name in ("token", "n_tokens") else ctypes.c_void_p(value)


def outcome_of(call: Callable[..., Any], arguments: list[Any]) -> Any:
    try:
        return comparable(call(*arguments))
    except LlamaError as error:  # of a token that is none, or where there is no vocabulary
        return str(error).partition("\n")[0]


def comparable(result: Any) -> Any:
    """A struct by its fields, of which a pointer is an address; and the type with the value: True is no 1."""
    if not isinstance(result, ctypes.Structure):
        return type(result), result
    return type(result), tuple(field(getattr(result, name)) for name, *_ in type(result)._fields_)


def field(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else ctypes.cast(value, ctypes.c_void_p).value


def differences(function: str, given: dict[str, Any]) -> list[str]:
    names = [*policy_parameters(function)]
    if not set(names) <= given.keys():
        return []
    call = functions[function]
    short = [given[name] for name in names]
    long = [long_way(given[name], name) for name in names]
    found = {outcome_of(call, arguments) for arguments in (short, long, short)}
    return [] if len(found) == 1 else [f"{function}{tuple(short)}: {found}"]


def different(model: Any) -> list[str]:
    """The clock aside, which no two calls find alike."""
    pairs = itertools.product(objects_of(model), PLAIN)
    return [one for given, name in pairs if name != "llama_time_us" for one in differences(name, given)]


def policy_parameters(function: str) -> list[str]:
    signature = functions[function].__text_signature__ or "()"
    return [one.strip() for one in signature.strip("()").split(",") if one.strip()]


def test_there_are_plain_functions_for_each_kind_of_object() -> None:
    """All that the policy names exist, and none has a parameter that nothing is given for below."""
    known = {"model", "vocab", "token", "tokens", "n_tokens", "ctx"}
    assert {name for function in PLAIN for name in policy_parameters(function)} == known
    assert len(PLAIN) > 50


@returns([])
def test_both_ways_give_the_same_of_a_model(model: Any) -> list[str]:
    return different(model)


@returns([])
def test_both_ways_give_the_same_of_a_vocabulary_alone() -> list[str]:
    return different(load(vocab_only=True))


@returns([])
def test_both_ways_give_the_same_where_there_is_no_vocabulary(folder: Path) -> list[str]:
    return different(without_vocabulary(folder))


@returns([])
def test_both_ways_give_the_same_of_contexts(model: Any) -> list[str]:
    contexts = [context_of(model), context_of(model, embeddings=True, n_seq_max=3, n_ctx=512, n_batch=64)]
    of_contexts = [name for name in PLAIN if "ctx" in policy_parameters(name)]
    return [one for ctx, name in itertools.product(contexts, of_contexts) for one in differences(name, {"ctx": ctx})]


# ---------------------------------------------------------------- what the short way leaves to the long one


@refused(LlamaValueError, r"llama_n_ctx\(\): ctx \(.+\) is a llama_context that llama_free\(\) has freed")
def test_a_freed_handle_is_refused(ctx: Any) -> None:
    llama_cpp.llama_n_ctx(ctx)
    llama_cpp.llama_free(ctx)
    llama_cpp.llama_n_ctx(ctx)


@refused(LlamaValueError, r"llama_n_ctx\(\): ctx \(.+\) must be a live llama_context, not a llama_model")
def test_a_handle_of_another_kind_is_refused(model: Any) -> None:
    llama_cpp.llama_n_ctx(model)


@refused(TypeError, r"llama_vocab_is_eog\(\): token ")
def test_a_float_is_no_token(vocab: Any) -> None:
    llama_cpp.llama_vocab_is_eog(vocab, 1.0)


@refused(LlamaValueError, r"llama_n_ctx\(\): ctx ")
@pytest.mark.parametrize("address", [0, 1, -1, 2**63, 2**64 - 1, 2**64, 2**200])
def test_a_number_is_no_context(address: int) -> None:
    llama_cpp.llama_n_ctx(address)


# ---------------------------------------------------------------- arrays whose type has been seen before


def batch_of(tokens: Any, n_tokens: int) -> Any:
    return llama_cpp.llama_batch_get_one(tokens, n_tokens)


def test_an_array_is_handed_over_at_its_address_each_time() -> None:
    for _ in range(3):
        tokens = (ctypes.c_int32 * 5)(*range(5))
        batch = batch_of(tokens, 5)
        assert ctypes.addressof(batch.token.contents) == ctypes.addressof(tokens)
        assert batch.token[:5] == list(range(5))


def test_an_array_lives_as_long_as_the_batch_that_points_to_it() -> None:
    batch_of((ctypes.c_int32 * 4)(), 4)
    batches = [batch_of((ctypes.c_int32 * 4)(*[number] * 4), 4) for number in range(100)]
    assert [batch.token[:4] for batch in batches] == [[number] * 4 for number in range(100)]


def test_more_types_than_are_remembered_are_told_apart() -> None:
    """Each length of an array is a type of its own."""
    for _ in range(2):
        for length in range(1, 300):
            tokens = (ctypes.c_int32 * length)(*range(length))
            assert batch_of(tokens, length).token[:length] == list(range(length))
            with pytest.raises(LlamaValueError, match=f"room for {length + 1}|{length + 1}"):
                batch_of(tokens, length + 1)


@pytest.mark.parametrize("item", [ctypes.c_float, ctypes.c_int64, ctypes.c_int8, ctypes.c_bool, ctypes.c_char_p])
def test_an_array_of_other_items_is_refused_each_time(item: Any) -> None:
    """It becomes known where such items are wanted."""
    wrong = (item * 8)()
    llama_cpp.llama_model_default_params()
    for _ in range(3):
        with pytest.raises(TypeError, match="tokens"):
            batch_of(wrong, 1)


def test_a_type_that_is_known_for_text_is_none_for_tokens(vocab: Any) -> None:
    text = ctypes.create_string_buffer(64)
    for _ in range(2):
        assert llama_cpp.llama_token_to_piece(vocab, 5, text, 64, 0, False) >= 0
        with pytest.raises(TypeError, match="tokens"):
            batch_of(text, 1)


def test_an_array_that_grew_has_its_new_room() -> None:
    tokens = (ctypes.c_int32 * 3)()
    batch_of(tokens, 3)
    ctypes.resize(tokens, 4 * 10)
    batch = batch_of(tokens, 10)
    assert ctypes.addressof(batch.token.contents) == ctypes.addressof(tokens)
    with pytest.raises(LlamaValueError, match="tokens"):
        batch_of(tokens, 11)


def test_a_class_of_ones_own_is_known_by_its_own_memory() -> None:
    class Tokens(ctypes.Array):  # type: ignore[type-arg]
        _type_, _length_ = ctypes.c_int32, 6

    for _ in range(2):
        tokens = Tokens(*range(6))
        assert batch_of(tokens, 6).token[:6] == list(range(6))
