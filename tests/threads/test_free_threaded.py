"""Many threads at once in the border, on Pythons with the GIL and, where it matters most, on those without.

Nothing here waits for a certain order: whichever thread comes first, there is one outcome. The children end as they
should, or the outcome says how they ended.
"""

from __future__ import annotations

import array
import ctypes
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from llamacffi import LlamaError, LlamaValueError, ffi
from llamacffi import llama_cpp as llama
from support.cells import returns
from support.objects import (
    abort_with,
    adapter_of,
    batch_of_one,
    chain_of,
    context_of,
    decode,
    ints,
    load,
    pool_of,
    user_sampler,
)
from support.processes import output_of_python

THREADS = 4
ROUNDS = 40


def at_once(*functions: Callable[[], object]) -> list[object]:
    """Run each in a thread of its own, begun together; return what they returned, or the types of what they raised."""
    begin = threading.Barrier(len(functions), timeout=20)
    results: list[object] = [None] * len(functions)

    def run(position: int) -> None:
        begin.wait()
        try:
            results[position] = functions[position]()
        except Exception as error:
            results[position] = type(error)

    threads = [threading.Thread(target=run, args=[position]) for position in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def kinds(results: Iterable[object]) -> list[object]:
    return sorted(set(results), key=repr)


# ---------------------------------------------------------------- the interpreter


def test_importing_the_package_leaves_the_gil_as_this_python_has_it() -> None:
    asked = "import sys, llamacffi.llama_cpp; print(getattr(sys, '_is_gil_enabled', lambda: True)())"
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    assert output_of_python(asked) == f"{not free_threaded}\n"


FIRST_USE = """
import threading
from llamacffi import llama_cpp as llama
begin, found = threading.Barrier(8), []
def use():
    begin.wait()
    params = llama.llama_context_default_params()
    batch = llama.llama_batch_init(1, 0, 1)
    types = type(params), type(batch), llama.llama_batch, llama.llama_token_data_array_p
    found.append((*types, llama._lib.llama_n_ctx))
threads = [threading.Thread(target=use) for _ in range(8)]
for one in threads: one.start()
for one in threads: one.join()
print(len(found), len(set(found)))
"""


def test_types_that_many_threads_ask_for_first_are_made_once() -> None:
    assert output_of_python(FIRST_USE) == "8 1\n"


# ---------------------------------------------------------------- objects of their own, one model


@returns([0])
def test_threads_with_contexts_of_one_model_make_use_and_free_them(model: Any) -> object:
    def work() -> object:
        for _ in range(ROUNDS):
            ctx = context_of(model)
            abort_with(ctx, lambda data: False)
            chain = chain_of(llama.llama_sampler_init_top_k(5), user_sampler(), llama.llama_sampler_init_greedy())
            status = decode(ctx)
            llama.llama_sampler_sample(chain, ctx, -1)
            llama.llama_sampler_chain_remove(chain, 1)
            llama.llama_sampler_free(chain)
            llama.llama_free(ctx)
        return status

    return kinds(at_once(*[work] * THREADS))


@returns([7])
def test_threads_load_and_free_models_with_callbacks() -> object:
    def work() -> object:
        for _ in range(ROUNDS):
            seen: list[float] = []
            progress = llama.llama_progress_callback(lambda part, data, seen=seen: seen.append(part) or True)
            model = load(progress_callback=progress)
            tokens = (ctypes.c_int32 * 16)()
            found = llama.llama_tokenize(llama.llama_model_get_vocab(model), b"the cat", 7, tokens, 16, True, False)
            llama.llama_model_free(model)
        return found if seen else None

    return kinds(at_once(*[work] * THREADS))


@returns(True)
def test_a_callback_that_never_waits_bars_no_other_thread(ctx: Any) -> object:
    """It runs outside of the border's lock, which on a Python without the GIL nobody takes from a thread that runs."""
    inside, asked = threading.Event(), []

    def spin(data: object) -> bool:
        inside.set()
        while not asked:
            pass
        return False

    def ask() -> None:
        inside.wait(20)
        asked.append(llama.llama_n_ctx(ctx))

    abort_with(ctx, spin)
    return at_once(lambda: decode(ctx), ask) == [0, None]


# ---------------------------------------------------------------- one object, many threads

FREED: dict[str, tuple[Callable[[Any], Any], Callable[[Any], object]]] = {
    "adapter": (adapter_of, llama.llama_adapter_lora_free),
    "batch": (lambda model: batch_of_one(), llama.llama_batch_free),
    "chain": (lambda model: chain_of(llama.llama_sampler_init_greedy()), llama.llama_sampler_free),
    "context": (context_of, llama.llama_free),
    "model": (lambda model: load(), llama.llama_model_free),
    "pool": (lambda model: pool_of(2), llama.ggml_threadpool_free),
}


@pytest.mark.parametrize("kind", FREED)
@returns((ROUNDS, (THREADS - 1) * ROUNDS))
def test_one_of_many_threads_that_free_an_object_does(kind: str, model: Any) -> object:
    make, free = FREED[kind]
    ended: Counter[object] = Counter()
    for _ in range(ROUNDS):
        made = make(model)
        ended.update(at_once(*[lambda made=made: free(made)] * THREADS))
    return ended[None], ended[LlamaValueError]


def text_of_a_token(model: Any) -> object:
    return llama.llama_vocab_get_text(llama.llama_model_get_vocab(model), 5)


USES: dict[str, tuple[str, Callable[[Any], object]]] = {
    "asking": ("context", llama.llama_n_ctx),
    "decoding": ("context", decode),
    "looking into it": ("context", lambda ctx: llama.llama_memory_seq_pos_max(llama.llama_get_memory(ctx), 0)),
    "reading a text": ("model", text_of_a_token),
    "setting a callback": ("context", lambda ctx: abort_with(ctx, lambda data: False)),
}


@pytest.mark.parametrize("use", USES)
@returns([LlamaValueError, None])
def test_who_uses_what_another_thread_frees_is_refused_afterwards(use: str, model: Any) -> object:
    """Until then it works, or one of the two is told that the other is inside."""

    kind, act = USES[use]
    make, free = FREED[kind]

    def go_on(act: Callable[[Any], object], one: Any) -> object:
        while True:
            try:
                if act(one) is None and act is free:
                    return None
            except LlamaError as error:
                if "in use" not in str(error):
                    raise

    ended: list[object] = []
    for _ in range(ROUNDS):
        made = make(model)
        ended += at_once(*(lambda act=act, made=made: go_on(act, made) for act in (act, free)))
    return kinds(ended)


def decode_often(model: Any, batch: Any) -> object:
    """In contexts of its own."""
    for _ in range(ROUNDS):
        ctx = context_of(model)
        status = llama.llama_decode(ctx, batch)
        llama.llama_free(ctx)
    return status


@returns([0])
def test_one_batch_is_decoded_by_many_contexts(model: Any) -> object:
    batch = batch_of_one()
    return kinds(at_once(*[lambda: decode_often(model, batch)] * THREADS))


# ---------------------------------------------------------------- Python objects that change meanwhile


def until_done(*workers: Callable[[], object], change: Callable[[], object]) -> list[object]:
    """Let the workers go on to their ends, and one thread change something all the time."""
    left = [len(workers)]
    lock = threading.Lock()

    def counted(worker: Callable[[], object]) -> object:
        try:
            return worker()
        finally:
            with lock:
                left[0] -= 1

    def keep_changing() -> None:
        while left[0]:
            change()

    return at_once(keep_changing, *(lambda worker=worker: counted(worker) for worker in workers))[1:]


def detokenizing(vocab: Any, tokens: Any) -> Callable[[], object]:
    """Have four tokens detokenized again and again: what C gets has four, or the call is refused."""

    def work() -> object:
        text, ended = ctypes.create_string_buffer(64), set()
        for _ in range(50 * ROUNDS):
            try:
                ended.add(llama.llama_detokenize(vocab, tokens, 4, text, 64, False, False) >= 0)
            except LlamaValueError:
                ended.add(True)
        return kinds(ended)

    return work


@returns([[True]] * THREADS)
def test_a_list_that_changes_is_converted_whole(vocab: Any) -> object:
    tokens: list[int] = []

    def change() -> None:
        tokens.extend([5, 6, 7, 8])
        tokens.clear()

    return until_done(*[detokenizing(vocab, tokens)] * THREADS, change=change)


SHARED: dict[str, Callable[[], Any]] = {
    "array": lambda: array.array("i", [5, 6, 7, 8]),
    "cdata": lambda: ffi.new("llama_token[4]", [5, 6, 7, 8]),
    "ctypes": lambda: ints(5, 6, 7, 8),
    "numpy": lambda: np.array([5, 6, 7, 8], np.int32),
}


@pytest.mark.parametrize("buffer", SHARED)
@returns([[True]] * THREADS)
def test_one_buffer_is_read_by_many_threads(buffer: str, vocab: Any) -> object:
    shared = SHARED[buffer]()

    def change() -> None:
        shared[0] = 9

    return until_done(*[detokenizing(vocab, shared)] * THREADS, change=change)


@returns([0] * THREADS)
def test_arrays_of_a_batch_are_put_in_while_it_is_decoded(model: Any) -> object:
    batch = batch_of_one()

    def change() -> None:
        batch.token = (ctypes.c_int32 * 8)(*[5] * 8)

    return until_done(*[lambda: decode_often(model, batch)] * THREADS, change=change)


@returns([0] * THREADS)
def test_callbacks_of_params_are_replaced_while_contexts_are_made_of_them(model: Any) -> object:
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 256, 1, 1

    def change() -> None:
        params.abort_callback = llama.ggml_abort_callback(lambda data: False)

    def work() -> object:
        for _ in range(ROUNDS):
            ctx = llama.llama_init_from_model(model, params)
            status = decode(ctx)
            llama.llama_free(ctx)
        return status

    return until_done(*[work] * THREADS, change=change)
