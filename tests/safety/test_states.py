"""Sequences that a context has not, and states that are short, cut off, or garbage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llamacffi import LlamaAssertionError, LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import refused, returns
from support.objects import context_of, decode

ROOM = 10_000

# ---------------------------------------------------------------- sequences

OF_NO_SEQUENCE = [
    ("llama_memory_seq_rm", (10**6, 0, 1)),
    ("llama_memory_seq_rm", (-5, 0, 1)),
    ("llama_memory_seq_cp", (0, 10**6, -1, -1)),
    ("llama_memory_seq_cp", (-1, 0, 0, 1)),
    ("llama_memory_seq_keep", (-1,)),
    ("llama_memory_seq_keep", (10**6,)),
    ("llama_memory_seq_add", (-1, 0, 1, 1)),
    ("llama_memory_seq_add", (10**6, 0, 1, 1)),
    ("llama_memory_seq_div", (10**6, 0, 1, 2)),
    ("llama_memory_seq_pos_min", (-1,)),
    ("llama_memory_seq_pos_min", (10**6,)),
    ("llama_memory_seq_pos_max", (-1,)),
    ("llama_memory_seq_pos_max", (10**6,)),
]


@pytest.mark.parametrize(("function", "numbers"), OF_NO_SEQUENCE)
@refused(LlamaAssertionError, lambda function, numbers: rf"{function}\(\): .+seq_to_stream.size\(\)")
def test_a_memory_has_the_sequences_of_its_context(function: str, numbers: tuple[int, ...], ctx: Any) -> None:
    getattr(llama, function)(llama.llama_get_memory(ctx), *numbers)


@refused(LlamaValueError, r"llama_memory_seq_div\(\): d \(int\) must be from 1 to 2147483647, not 0")
def test_positions_are_not_divided_by_zero(ctx: Any) -> None:
    llama.llama_memory_seq_div(llama.llama_get_memory(ctx), 0, 0, -1, 0)


@returns(-1)
def test_after_a_position_beyond_what_an_int_holds_nothing_is_decoded(ctx: Any) -> int:
    decode(ctx)
    llama.llama_memory_seq_add(llama.llama_get_memory(ctx), 0, 0, -1, 2**31 - 1)
    return decode(ctx)


OUTPUTS = (
    "llama_get_logits_ith",
    "llama_get_embeddings_ith",
    "llama_get_embeddings_seq",
    "llama_get_sampled_probs_ith",
)


@pytest.mark.parametrize("index", [0, -1, 10**6, -(2**31)])
@pytest.mark.parametrize("function", OUTPUTS)
@returns(False)
def test_a_context_that_decoded_nothing_has_no_outputs(function: str, index: int, ctx: Any) -> bool:
    return bool(getattr(llama, function)(ctx, index))


# ---------------------------------------------------------------- states


def state_of(ctx: Any) -> bytes:
    data = bytearray(ROOM)
    return bytes(data[: llama.llama_state_get_data(ctx, data, ROOM)])


@returns(True)
def test_a_sequence_that_is_none_has_an_empty_state(ctx: Any) -> bool:
    sizes = {llama.llama_state_seq_get_size(ctx, sequence) for sequence in (256, 10**6, -(2**31))}
    return sizes == {llama.llama_state_seq_get_size(ctx, 0)}


@refused(LlamaAssertionError, r"llama_state_seq_set_data\(\): .+seq_to_stream.size\(\)")
def test_a_sequence_that_is_none_takes_no_state(ctx: Any) -> None:
    data = bytearray(ROOM)
    size = llama.llama_state_seq_get_data(ctx, data, ROOM, 0)
    llama.llama_state_seq_set_data(ctx, bytes(data[:size]), size, 10**6)


@pytest.mark.parametrize("room", [None, 10])
@refused(
    LlamaValueError,
    r"llama_copy_state_data\(\): dst .+ (holds 10|is NULL), where C (may read or write|reads or writes) \d+ items",
)
def test_a_state_without_a_length_is_not_copied_to_a_short_buffer(room: int | None, ctx: Any) -> None:
    llama.llama_copy_state_data(ctx, room and bytearray(room))


@refused(LlamaValueError, r"llama_set_state_data\(\): src .+ must not be NULL")
def test_a_state_is_not_set_out_of_nothing(ctx: Any) -> None:
    llama.llama_set_state_data(ctx, None)


@returns(0)
def test_a_state_of_garbage_is_not_taken(ctx: Any) -> int:
    return int(llama.llama_state_set_data(ctx, bytes(64), 64))


@returns(({0}, 0))
def test_a_state_that_is_cut_off_is_not_taken_and_the_context_decodes(ctx: Any) -> object:
    decode(ctx)
    state = state_of(ctx)
    taken = {llama.llama_state_set_data(ctx, state[:size], size) for size in range(0, len(state), 41)}
    return taken, decode(ctx)


# ---------------------------------------------------------------- states that the context keeps a part of

ON_DEVICE = llama.LLAMA_STATE_SEQ_FLAGS_ON_DEVICE


def stored(ctx: Any, room: int = ROOM) -> bytes:
    """Have the context keep the state of its first sequence; return the part that is handed out."""
    data = bytearray(room)
    return bytes(data[: llama.llama_state_seq_get_data_ext(ctx, data, room, 0, ON_DEVICE)])


def put_back(ctx: Any, state: bytes, sequence: int = 0) -> int:
    return int(llama.llama_state_seq_set_data_ext(ctx, state, len(state), sequence, ON_DEVICE))


def decoded_twice(model: Any, **fields: Any) -> tuple[Any, bytes]:
    """Return a context, and the state that it had between two decodes."""
    ctx = context_of(model, n_seq_max=4, kv_unified=True, **fields)
    decode(ctx)
    state = stored(ctx)
    decode(ctx, (7, 8))
    return ctx, state


@refused(LlamaValueError, r"llama_state_seq_set_data_ext\(\): src is not what .+ with these flags")
def test_a_state_is_put_back_with_the_flags_that_it_was_written_with(model: Any) -> None:
    ctx, state = decoded_twice(model)
    both = ON_DEVICE | llama.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
    llama.llama_state_seq_set_data_ext(ctx, state, len(state), 0, both)


@returns((True, True, 2))
def test_a_state_that_was_kept_is_put_back(model: Any) -> object:
    ctx, state = decoded_twice(model)
    taken = put_back(ctx, state) == len(state)
    also = put_back(ctx, state, sequence=3) == len(state)
    return taken, also, llama.llama_memory_seq_pos_max(llama.llama_get_memory(ctx), 3)


NOT_KEPT: dict[str, Callable[[Any, bytes], bytes]] = {
    "nothing": lambda ctx, state: b"",
    "its first number": lambda ctx, state: state[:4],
    "its beginning": lambda ctx, state: state[:-1],
    "more than it": lambda ctx, state: state + bytes(4),
    "another text": lambda ctx, state: state[:-1] + bytes([state[-1] ^ 1]),
    "another sequence": lambda ctx, state: state[:4] + (1).to_bytes(4, "little") + state[8:],
    "garbage": lambda ctx, state: bytes(len(state)),
    "an older state": lambda ctx, state: (stored(ctx), state)[1],
    "one of another context": lambda ctx, state: another_state(llama.llama_get_model(ctx)),
    "one that did not fit": lambda ctx, state: (stored(ctx, room=12), state)[1],
}


def another_state(model: Any) -> bytes:
    ctx = context_of(model)
    decode(ctx, (9,))
    return stored(ctx)


@pytest.mark.parametrize("name", NOT_KEPT)
@refused(
    LlamaValueError, r"llama_state_seq_set_data_ext\(\): src is not what llama_state_seq_get_data_ext\(\) last wrote"
)
def test_what_the_context_did_not_keep_is_not_put_back(name: str, model: Any) -> None:
    """C finds out in a destructor, where an assertion would end the process."""
    ctx, state = decoded_twice(model)
    put_back(ctx, NOT_KEPT[name](ctx, state))


@pytest.mark.parametrize("sequence", [-1, 4, 256, 2**31 - 1])
@refused(LlamaValueError, r"llama_state_seq_set_data_ext\(\): dest_seq_id must be from 0 to llama_n_seq_max\(ctx\) - 1")
def test_a_sequence_that_is_none_takes_no_state_that_was_kept(sequence: int, model: Any) -> None:
    ctx, state = decoded_twice(model)
    put_back(ctx, state, sequence)


@returns((0, True))
def test_after_a_refusal_the_context_decodes_and_takes_its_own(model: Any) -> object:
    ctx, state = decoded_twice(model)
    with pytest.raises(LlamaValueError):
        put_back(ctx, state + b"x")
    return decode(ctx), put_back(ctx, state) == len(state)


@returns((20, True))
def test_a_context_has_kept_nothing_of_one_that_was_freed(model: Any) -> object:
    """As a rule it gets the same address."""
    refusals, addresses = 0, set()
    for _ in range(20):
        freed, state = decoded_twice(model)
        llama.llama_free(freed)
        ctx = context_of(model, n_seq_max=4, kv_unified=True)
        addresses |= {freed, ctx}
        with pytest.raises(LlamaValueError, match="src is not what"):
            put_back(ctx, state)
        refusals += 1
        llama.llama_free(ctx)
    return refusals, len(addresses) < 40
