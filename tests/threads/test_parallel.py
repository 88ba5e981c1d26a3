"""What many threads make, use and free at once in one process, each with objects of its own and one outcome.

One thread runs each test where pytest runs alone; pytest-run-parallel has many run it together, again and again:

    pytest --parallel-threads=4 --iterations=25 tests/threads/test_parallel.py

Fixtures are what the threads share. Nothing here is refused for what another thread does, so every call has to work.
"""

from __future__ import annotations

import array
import ctypes
import math
import os
import queue
import threading
from collections.abc import Callable, Iterator
from ctypes import byref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llamacffi
from llamacffi import LlamaValueError, ffi
from llamacffi import llama_cpp as llama
from support.objects import (
    TOKENS,
    abort_with,
    adapter_of,
    batch_of_one,
    candidates,
    chain_of,
    context_of,
    decode,
    ints,
    load,
    logits_of,
    pool_of,
    use_adapter,
    user_sampler,
)

TEXT = b"the cat"
SHARED: queue.SimpleQueue[Any] = queue.SimpleQueue()


class Told(Exception):
    """What a callback raises; each thread has its own."""


# ---------------------------------------------------------------- handles


def test_a_context_computes_what_another_of_the_model_does(tiny: Any) -> None:
    first, second = context_of(tiny), context_of(tiny)
    assert (decode(first), decode(second)) == (0, 0)
    assert np.array_equal(logits_of(first), logits_of(second))
    llama.llama_free(first)
    llama.llama_free(second)


def test_a_model_is_freed_before_its_context(tiny_path: Path) -> None:
    model = load(tiny_path)
    ctx = context_of(model)
    llama.llama_model_free(model)
    assert decode(ctx) == 0
    llama.llama_free(ctx)


def test_an_adapter_is_used_by_a_context_of_its_own_model(tiny_path: Path) -> None:
    model = load(tiny_path)
    ctx, adapter = context_of(model), adapter_of(model)
    use_adapter(ctx, adapter)
    assert decode(ctx) == 0
    llama.llama_free(ctx)
    llama.llama_adapter_lora_free(adapter)
    llama.llama_model_free(model)


def test_a_pool_is_attached_and_freed(tiny: Any) -> None:
    ctx, pool = context_of(tiny), pool_of(1)
    llama.llama_attach_threadpool(ctx, pool, pool)
    assert decode(ctx) == 0
    llama.llama_detach_threadpool(ctx)
    llama.ggml_threadpool_free(pool)
    llama.llama_free(ctx)


def test_what_one_thread_made_another_uses_and_frees(tiny: Any) -> None:
    """Each gives one and takes one, most of the time another's."""
    SHARED.put((context_of(tiny), chain_of(llama.llama_sampler_init_greedy()), batch_of_one()))
    ctx, chain, batch = SHARED.get(timeout=20)
    assert llama.llama_decode(ctx, batch) == 0
    assert llama.llama_sampler_sample(chain, ctx, -1) == int(np.argmax(logits_of(ctx)))
    llama.llama_sampler_free(chain)
    llama.llama_batch_free(batch)
    llama.llama_free(ctx)


def test_a_state_goes_into_another_context(tiny: Any) -> None:
    first, second = context_of(tiny), context_of(tiny)
    assert decode(first) == 0
    size = llama.llama_state_get_size(first)
    state = (ctypes.c_uint8 * size)()
    assert llama.llama_state_get_data(first, state, size) == llama.llama_state_set_data(second, state, size)
    memory = llama.llama_get_memory(second)
    assert llama.llama_memory_seq_pos_max(memory, 0) == len(TOKENS) - 1
    llama.llama_free(first)
    llama.llama_free(second)


# ---------------------------------------------------------------- samplers and grammars


def test_a_grammar_leaves_what_it_allows(vocab: Any) -> None:
    grammar = llama.llama_sampler_init_grammar(vocab, b'root ::= "the"', b"root")
    (token,) = tokens_of(vocab, b"x")[-1:]
    one = (llama.llama_token_data * 1)((token, 1.0, 0.0))
    given = llama.llama_token_data_array(data=one, size=1, selected=-1)
    llama.llama_sampler_apply(grammar, byref(given))
    assert given.data[0].logit == -math.inf
    llama.llama_sampler_free(grammar)


def test_a_chain_takes_and_gives_back_samplers() -> None:
    kept = llama.llama_sampler_init_top_k(3)
    chain = chain_of(kept, llama.llama_sampler_init_temp(0.5), llama.llama_sampler_init_greedy())
    given = candidates()
    llama.llama_sampler_apply(chain, byref(given))
    assert (given.size, given.selected) == (3, 0)
    taken_out = llama.llama_sampler_chain_remove(chain, 0)
    assert ctypes.addressof(taken_out.contents) == ctypes.addressof(kept.contents)
    llama.llama_sampler_free(chain)
    llama.llama_sampler_free(kept)


def test_a_chain_that_all_share_gets_a_sampler_of_each(shared_chain: Any) -> None:
    before = llama.llama_sampler_chain_n(shared_chain)
    llama.llama_sampler_chain_add(shared_chain, llama.llama_sampler_init_greedy())
    assert llama.llama_sampler_chain_n(shared_chain) > before


@pytest.fixture
def shared_chain() -> Iterator[Any]:
    chain = chain_of()
    yield chain
    llama.llama_sampler_free(chain)


def test_a_sampler_of_python_functions_is_cloned_and_freed() -> None:
    calls: list[str] = []
    functions = {name: lambda *given, name=name: calls.append(name) for name in ("accept", "apply", "free")}
    sampler = user_sampler(
        **functions, clone=lambda sampler: ctypes.addressof(llama.llama_sampler_init_greedy().contents)
    )
    clone = llama.llama_sampler_clone(sampler)
    llama.llama_sampler_accept(sampler, 5)
    llama.llama_sampler_apply(sampler, byref(candidates()))
    llama.llama_sampler_free(clone)
    llama.llama_sampler_free(sampler)
    assert calls == ["accept", "apply", "free"]


# ---------------------------------------------------------------- callbacks


def test_what_a_callback_raises_comes_out_of_its_own_thread(tiny: Any) -> None:
    ctx, own = context_of(tiny), Told()

    def tell(data: object) -> bool:
        raise own

    abort_with(ctx, tell)
    with pytest.raises(Told) as raised:
        decode(ctx)
    assert raised.value is own
    llama.llama_free(ctx)


def test_the_callbacks_of_params_are_replaced_before_a_context_is_made(tiny: Any) -> None:
    params, threads = llama.llama_context_default_params(), []
    params.n_ctx, params.n_threads, params.n_threads_batch = 256, 1, 1
    for _ in range(3):
        params.abort_callback = llama.ggml_abort_callback(lambda data: threads.append(threading.get_ident()) or False)
    ctx = llama.llama_init_from_model(tiny, params)
    assert decode(ctx) == 0
    assert set(threads) == {threading.get_ident()}
    llama.llama_free(ctx)


def test_a_progress_callback_is_called_to_the_end(tiny_path: Path) -> None:
    seen: list[float] = []
    model = load(
        tiny_path, progress_callback=llama.llama_progress_callback(lambda part, data: seen.append(part) or True)
    )
    assert seen[-1] == 1.0
    llama.llama_model_free(model)


def test_a_cffi_callback_is_called(tiny: Any) -> None:
    ctx, calls = context_of(tiny), []
    stop = ffi.callback("bool(void *)", lambda data: bool(calls.append(data) or True))
    llama.llama_set_abort_callback(ctx, stop, ffi.NULL)
    assert decode(ctx) == 2
    assert len(calls) == 1
    llama.llama_free(ctx)


def test_the_last_error_is_of_the_thread_s_own_call() -> None:
    missing = f"/there/is/no/{threading.get_ident()}.gguf"
    assert llama.llama_model_load_from_file(os.fsencode(missing), llama.llama_model_default_params()) is None
    assert missing in llamacffi.last_error()


# ---------------------------------------------------------------- batches, params, arrays


def test_the_arrays_of_a_batch_are_put_in_and_taken_out_before_it_is_freed(tiny: Any) -> None:
    ctx, batch = context_of(tiny), batch_of_one()
    own = batch.token
    batch.token = ints(*[5] * 8)
    assert llama.llama_decode(ctx, batch) == 0
    batch.token = own
    llama.llama_batch_free(batch)
    llama.llama_free(ctx)


def test_a_batch_keeps_the_tokens_that_it_points_to() -> None:
    batches = [llama.llama_batch_get_one(ints(*range(count)), count) for count in range(1, 20)]
    assert [batch.token[batch.n_tokens - 1] for batch in batches] == list(range(19))


def test_arrays_of_more_types_than_are_remembered_keep_their_room() -> None:
    """Each length is a type of its own, which all threads put in the places of others."""
    for count in range(1, 200):
        tokens = ints(*range(count))
        assert llama.llama_batch_get_one(tokens, count).token[count - 1] == count - 1
        with pytest.raises(LlamaValueError, match="tokens"):
            llama.llama_batch_get_one(tokens, count + 1)


def test_a_pointer_of_a_type_that_soon_ends_is_taken(vocab: Any) -> None:
    """The last type that was good for a parameter is remembered, until that of another thread takes its place."""
    text = bytearray(64)
    for _ in range(50):
        pointer = type("own_pointer", (ctypes._Pointer,), {"_type_": ctypes.c_int32})
        tokens = pointer(ctypes.c_int32(TOKENS[-1]))
        length = llama.llama_detokenize(vocab, tokens, 1, text, 64, False, False)
        whole = bytes(text[:length])
        assert llama.llama_token_to_piece(vocab, TOKENS[-1], text, 64, 0, False) == length
        assert whole == bytes(text[:length]) != b""


def test_params_keep_the_arrays_that_they_point_to(tiny_path: Path) -> None:
    params = llama.llama_model_default_params()
    for share in (0.25, 0.5):
        params.tensor_split = ctypes.cast((ctypes.c_float * 16)(*[share] * 16), ctypes.POINTER(ctypes.c_float))
    model = llama.llama_model_load_from_file(os.fsencode(tiny_path), params)
    assert params.tensor_split[15] == 0.5
    llama.llama_model_free(model)


BUFFERS: dict[str, Callable[[list[int]], Any]] = {
    "array": lambda tokens: array.array("i", tokens),
    "cdata": lambda tokens: ffi.new("llama_token[]", tokens),
    "ctypes": lambda tokens: ints(*tokens),
    "list": lambda tokens: tokens,
    "numpy": lambda tokens: np.array(tokens, np.int32),
}


@pytest.mark.parametrize("buffer", BUFFERS)
def test_a_text_goes_there_and_back_again(buffer: str, vocab: Any) -> None:
    tokens = tokens_of(vocab, TEXT)
    text = bytearray(64)
    length = llama.llama_detokenize(vocab, BUFFERS[buffer](tokens), len(tokens), text, 64, True, False)
    assert bytes(text[:length]) == b" " + TEXT  # SentencePiece's, before the first word


def tokens_of(vocab: Any, text: bytes) -> list[int]:
    tokens = ints(*[0] * 64)
    count = llama.llama_tokenize(vocab, text, len(text), tokens, 64, True, False)
    return list(tokens[:count])


def test_logits_of_a_context_are_written_and_read(tiny: Any) -> None:
    ctx = context_of(tiny)
    assert decode(ctx) == 0
    logits_of(ctx)[42] = math.inf
    chain = chain_of(llama.llama_sampler_init_greedy())
    assert llama.llama_sampler_sample(chain, ctx, -1) == 42
    llama.llama_sampler_free(chain)
    llama.llama_free(ctx)


def test_many_kinds_of_numbers_become_c_s(tiny: Any) -> None:
    given = [1, True, np.int32(1), np.uint8(1), ctypes.c_int(1), ffi.cast("int", 1)]
    ctx = context_of(tiny)
    for number in given:
        llama.llama_set_n_threads(ctx, number, number)
        assert llama.llama_n_threads(ctx) == 1
    llama.llama_free(ctx)
