"""Batches that say more than they hold, or what the context cannot have."""

from __future__ import annotations

import ctypes
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from llamacffi import LlamaAssertionError, LlamaError, LlamaValueError, ffi, lib
from llamacffi import llama_cpp as llama
from support.cells import raises, refused, returns
from support.objects import abort_with, batch_of_one, busy, context_of, decode, ints
from support.tiny_model import N_VOCAB, Shape

BEYOND = (-1, 10**6, -(2**31))

# ---------------------------------------------------------------- what it holds


@refused(LlamaValueError, r"llama_decode\(\): batch .+ has n_tokens = 4, but holds 3")
def test_n_tokens_is_not_beyond_the_array_of_get_one(ctx: Any) -> None:
    batch = llama.llama_batch_get_one(ints(1, 2, 3), 3)
    batch.n_tokens = 4
    llama.llama_decode(ctx, batch)


@returns(0)
def test_the_array_of_get_one_lives_as_long_as_its_batch(ctx: Any) -> int:
    batch = llama.llama_batch_get_one(ints(*[5] * 100), 100)
    gc.collect()
    return int(llama.llama_decode(ctx, batch))


@refused(TypeError, r"llama_batch_get_one\(\): tokens")
def test_a_list_is_not_taken_where_c_keeps_the_pointer() -> None:
    llama.llama_batch_get_one([1, 2], 2)


@refused(LlamaValueError, r"llama_batch_free\(\): batch .+ not made by llama_batch_init")
def test_a_batch_of_get_one_is_not_freed() -> None:
    llama.llama_batch_free(llama.llama_batch_get_one(ints(1), 1))


@refused(LlamaValueError, r"llama_batch_free\(\): batch .+ freed already")
def test_a_copy_of_a_freed_batch_is_not_freed() -> None:
    batch = batch_of_one()
    copy = llama.llama_batch.from_buffer_copy(batch)
    llama.llama_batch_free(batch)
    llama.llama_batch_free(copy)


@refused(LlamaValueError, r"llama_decode\(\): batch .+ freed already")
def test_a_freed_batch_is_not_decoded(ctx: Any) -> None:
    batch = batch_of_one()
    llama.llama_batch_free(batch)
    llama.llama_decode(ctx, batch)


@returns(-1)
def test_a_batch_without_tokens_is_not_decoded(ctx: Any) -> int:
    return int(llama.llama_decode(ctx, llama.llama_batch_init(8, 0, 1)))


@returns(-1)
def test_a_batch_with_a_negative_number_of_tokens_is_not_decoded(ctx: Any) -> int:
    batch = batch_of_one()
    batch.n_tokens = -3
    return int(llama.llama_decode(ctx, batch))


@refused(LlamaAssertionError, r"llama_decode\(\): .+n_tokens_all <= cparams.n_batch")
def test_more_tokens_than_the_context_takes_are_not_decoded(ctx: Any) -> None:
    decode(ctx, (5,) * 300)


@returns(0)
def test_a_context_decodes_after_it_refused_a_batch(ctx: Any) -> int:
    batch = batch_of_one(4)
    batch.n_tokens = 5
    with pytest.raises(LlamaValueError):
        llama.llama_decode(ctx, batch)
    return decode(ctx)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize("sizes", [(-1, 0, 1), (1, 0, -1)])
@refused(LlamaValueError, r"llama_batch_init\(\): n_\w+ \(int32_t\) must be from 0 to \d+, not -1")
def test_a_batch_has_no_negative_size(sizes: tuple[int, int, int]) -> None:
    llama.llama_batch_init(*sizes)


@pytest.mark.parametrize("sizes", [(2**31 - 2, 2**31 - 1, 1), (2**31 - 2, 2**31 - 1, 2**31 - 1)])
@refused(MemoryError, r"llama_batch_init\(\): needs more memory than this machine has")
def test_a_batch_is_no_larger_than_memory(sizes: tuple[int, int, int]) -> None:
    llama.llama_batch_init(*sizes)


# ---------------------------------------------------------------- what a token has


@refused(LlamaValueError, r"llama_decode\(\): batch .+ has neither token nor embd")
def test_a_batch_has_tokens_or_embeddings(ctx: Any) -> None:
    batch = batch_of_one()
    batch.token = None
    llama.llama_decode(ctx, batch)


@pytest.mark.parametrize("count", [10**6, -5])
@refused(LlamaValueError, lambda count: rf"llama_decode\(\): batch .+ has at n_seq_id\[0\] {count}, not 1 to 1")
def test_a_token_has_as_many_sequences_as_there_is_room_for(count: int, ctx: Any) -> None:
    batch = batch_of_one()
    batch.n_seq_id[0] = count
    llama.llama_decode(ctx, batch)


@refused(LlamaValueError, r"llama_decode\(\): batch .+ has at seq_id\[0\] NULL")
def test_a_token_has_a_row_of_sequences(ctx: Any) -> None:
    batch = batch_of_one()
    batch.seq_id[0] = None
    llama.llama_decode(ctx, batch)


@pytest.mark.parametrize("sequence", [10**6, -1])
@refused(LlamaValueError, lambda sequence: rf"llama_decode\(\): batch .+ has at seq_id\[0\] {sequence}, not below")
def test_a_token_is_of_a_sequence_that_the_context_has(sequence: int, ctx: Any) -> None:
    batch = batch_of_one()
    batch.seq_id[0][0] = sequence
    llama.llama_decode(ctx, batch)


@refused(LlamaValueError, r"llama_decode\(\): batch .+ has at seq_id\[0\] 1000000, not below")
def test_a_token_without_a_position_is_of_a_sequence_that_the_context_has(ctx: Any) -> None:
    batch = batch_of_one()
    batch.pos = None
    batch.seq_id[0][0] = 10**6
    llama.llama_decode(ctx, batch)


@refused(LlamaValueError, r"llama_decode\(\): batch .+ has at pos\[0\] -7")
def test_a_position_is_not_negative(ctx: Any) -> None:
    batch = batch_of_one()
    batch.pos[0] = -7
    llama.llama_decode(ctx, batch)


@returns(0)
def test_the_highest_position_is_decoded(ctx: Any) -> int:
    batch = batch_of_one()
    batch.pos[0] = 2**31 - 1
    return int(llama.llama_decode(ctx, batch))


@refused(LlamaValueError, r"llama_decode\(\): batch .+ holds embeddings of 1 numbers, where the model has 32")
def test_embeddings_have_the_model_s_width(ctx: Any) -> None:
    llama.llama_decode(ctx, batch_of_one(embd=1))


@returns(0)
def test_embeddings_of_the_model_s_width_are_decoded(ctx: Any) -> int:
    return int(llama.llama_decode(ctx, batch_of_one(embd=Shape().width)))


# ---------------------------------------------------------------- encoding


@refused(LlamaValueError, r"llama_encode\(\): the model of ctx has no encoder")
def test_a_decoder_does_not_encode(ctx: Any) -> None:
    llama.llama_encode(ctx, llama.llama_batch_get_one(ints(1, 5), 2))


@refused(LlamaValueError, r"llama_process\(\): the model of ctx has no encoder")
def test_a_decoder_does_not_encode_a_batch_ext(ctx: Any) -> None:
    batch = llama.llama_batch_ext_init(ctx)
    llama.llama_batch_ext_add_token(batch, 0, 5)
    llama.llama_process(ctx, llama.LLAMA_PROCESS_TYPE_ENCODE, batch)


@refused(LlamaValueError, r"llama_process\(\): type .+ has no value 99")
def test_a_batch_ext_is_encoded_or_decoded(ctx: Any) -> None:
    llama.llama_process(ctx, 99, llama.llama_batch_ext_init(ctx))


# ---------------------------------------------------------------- batch_ext


@returns([False, False, False, False])
def test_a_batch_ext_has_outputs_where_it_has_tokens(ctx: Any) -> object:
    batch = llama.llama_batch_ext_init(ctx)
    llama.llama_batch_ext_add_token(batch, 0, 5)
    return [llama.llama_batch_ext_set_output_logits(batch, index, True) for index in (*BEYOND, 1)]


@returns([-3, -3, -3, -3])
def test_a_batch_ext_takes_sequences_that_the_context_has(ctx: Any) -> object:
    batch = llama.llama_batch_ext_init(ctx)
    return [llama.llama_batch_ext_add_token(batch, sequence, 5) for sequence in (*BEYOND, 1)]


@returns([-2, -2, -2, -2])
def test_a_batch_ext_takes_tokens_of_the_vocabulary(ctx: Any) -> object:
    batch = llama.llama_batch_ext_init(ctx)
    return [llama.llama_batch_ext_add_token(batch, 0, token) for token in (*BEYOND, N_VOCAB)]


@returns(-2)
def test_a_batch_ext_takes_no_embeddings_that_are_null(ctx: Any) -> int:
    batch = llama.llama_batch_ext_init(ctx)
    return int(llama.llama_batch_ext_add_embd(batch, 0, llama.llama_embd(None, 1, Shape().width)))


@refused(LlamaValueError, r"llama_process\(\): batch .+ was made for another context")
def test_a_context_does_not_process_what_was_made_for_another(model: Any, ctx: Any) -> None:
    batch = llama.llama_batch_ext_init(context_of(model, n_seq_max=64))
    llama.llama_batch_ext_add_token(batch, 60, 5)
    llama.llama_process(ctx, llama.LLAMA_PROCESS_TYPE_DECODE, batch)


# ---------------------------------------------------------------- members that the caller has put in

SWAPPED: dict[str, Callable[[Any], object]] = {
    "token": lambda batch: setattr(batch, "token", ints(5, 6)),
    "pos": lambda batch: setattr(batch, "pos", ints(0, 1)),
    "n_seq_id": lambda batch: setattr(batch, "n_seq_id", ints(1, 1)),
    "logits": lambda batch: setattr(batch, "logits", (ctypes.c_int8 * 2)(0, 1)),
    "seq_id[0]": lambda batch: batch.seq_id.__setitem__(0, ints(0)),
}


@pytest.mark.parametrize("member", SWAPPED)
@returns((0, None))
def test_a_batch_decodes_and_is_freed_whatever_was_put_into_it(member: str, ctx: Any) -> object:
    """What `llama_batch_init` allocated is freed, not the array that ctypes owns."""
    batch = batch_of_one()
    SWAPPED[member](batch)
    return llama.llama_decode(ctx, batch), llama.llama_batch_free(batch)


@refused(LlamaValueError, r"llama_batch_free\(\): batch .+ was not made by llama_batch_init\(\), or is freed already")
def test_a_batch_is_not_freed_twice_after_a_member_was_swapped() -> None:
    batch = batch_of_one()
    batch.token = ints(5, 6)
    llama.llama_batch_free(batch)
    llama.llama_batch_free(batch)


@pytest.mark.parametrize("member", ["token", "pos", "n_seq_id", "logits"])
@refused(LlamaValueError, lambda member: rf"llama_decode\(\): batch .+ needs 3 items in {member} .+ but that holds 2")
def test_an_array_of_the_caller_s_is_long_enough(member: str, ctx: Any) -> None:
    batch = batch_of_one()
    batch.n_tokens = 3
    for i in range(3):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 5, i, 1, 0, 0
    SWAPPED[member](batch)
    llama.llama_decode(ctx, batch)


@refused(LlamaValueError, r"llama_decode\(\): batch .+ is freed already")
def test_a_batch_is_not_decoded_that_the_length_of_its_array_frees(ctx: Any) -> None:
    batch = batch_of_one()
    copy = llama.llama_batch.from_buffer_copy(batch)

    def free(array: object) -> int:
        llama.llama_batch_free(copy)
        return 2

    batch.token = type("own_array", (ctypes.c_int32 * 2,), {"__len__": free})(5, 6)
    llama.llama_decode(ctx, batch)


@returns((0, None))
def test_a_batch_of_cdata_decodes_and_is_freed(ctx: Any) -> object:
    holder = cdata_batch()
    batch = holder[0]
    return lib.llama_decode(ffi.cast("struct llama_context *", ctx), batch), lib.llama_batch_free(batch)


@refused(LlamaValueError, r"llama_batch_free\(\): batch .+ was not made by llama_batch_init\(\), or is freed already")
def test_a_batch_of_cdata_is_not_freed_twice() -> None:
    holder = cdata_batch()
    batch = holder[0]
    lib.llama_batch_free(batch)
    lib.llama_batch_free(batch)


@refused(LlamaValueError, r"llama_decode\(\): batch .+ has n_tokens = 9, but holds 8")
def test_a_batch_of_cdata_has_no_more_tokens_than_it_has_room_for(ctx: Any) -> None:
    holder = cdata_batch()
    batch = holder[0]
    batch.n_tokens = 9
    lib.llama_decode(ffi.cast("struct llama_context *", ctx), batch)


def cdata_batch() -> Any:
    """Make a batch of one token, as cffi's struct."""
    seen = ffi.from_buffer("struct llama_batch *", batch_of_one())
    return ffi.new("struct llama_batch *", seen[0])


@returns([True, False])
def test_what_a_batch_points_to_stays_until_it_is_decoded(model: Any) -> list[bool]:
    """C copies it, but another thread may give the batch other embeddings before that; so may a callback, later."""
    n_tokens, width = 4, llama.llama_model_n_embd(model)
    batch = llama.llama_batch_init(n_tokens, 0, 1)
    batch.n_tokens, batch.token = n_tokens, None
    for index in range(n_tokens):
        batch.pos[index], batch.n_seq_id[index], batch.logits[index] = index, 1, 1
        batch.seq_id[index][0] = 0
    batch.embd = first = (ctypes.c_float * (n_tokens * width))()
    alive = weakref.ref(first)
    del first
    seen: list[bool] = []

    def change(tensor: int, ask: bool, data: object) -> bool:
        batch.embd = (ctypes.c_float * (n_tokens * width))()
        seen.append(alive() is not None)
        return False

    ctx = context_of(model, cb_eval=llama.ggml_backend_sched_eval_callback(change))
    assert llama.llama_decode(ctx, batch) == 0
    return [all(seen) and len(seen) > 0, alive() is not None]


@refused(LlamaValueError, r"llama_decode\(\): batch .+ is freed already, and another batch has its place")
def test_the_copy_of_a_freed_batch_is_not_taken_for_the_one_in_its_place(model: Any) -> None:
    ctx, batch = context_of(model), batch_of_one()
    stale = bytearray(batch)
    offset = llama.llama_batch.logits.offset
    stale[offset : offset + 8] = (8).to_bytes(8, "little")  # where that of the freed one was
    llama.llama_decode(ctx, llama.llama_batch.from_buffer_copy(stale))


# ---------------------------------------------------------------- while C reads it


@raises(LlamaError, r"llama_batch_free\(\): batch .+ is in use by another thread")
def test_a_batch_is_not_freed_while_another_thread_decodes_it(model: Any) -> None:
    ctx, batch = context_of(model), batch_of_one()
    with busy(ctx, batch):
        llama.llama_batch_free(batch)


@raises(LlamaError, r"llama_batch_free\(\): batch .+ is in use by the call that runs this callback")
def test_a_batch_is_not_freed_by_a_callback_of_its_decode(model: Any) -> None:
    ctx, batch = context_of(model), batch_of_one()
    abort_with(ctx, lambda data: llama.llama_batch_free(batch))
    llama.llama_decode(ctx, batch)


@returns([0, None])
def test_it_is_freed_when_the_decode_is_over_and_another_one_meanwhile(model: Any) -> list[Any]:
    ctx, batch, other = context_of(model), batch_of_one(), batch_of_one()
    with busy(ctx, batch) as results:
        llama.llama_batch_free(other)
    return [results[0], llama.llama_batch_free(batch)]


@returns([None, True])
def test_a_decode_that_was_refused_does_not_hold_its_batch(model: Any) -> list[Any]:
    ctx, batch = context_of(model), batch_of_one()
    with busy(ctx):
        try:
            llama.llama_decode(ctx, batch)
        except LlamaError as error:
            return [llama.llama_batch_free(batch), "in use" in str(error)]
    return []
