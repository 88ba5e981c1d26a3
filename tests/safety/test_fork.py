"""fork and spawn after a model was loaded: the child decodes, or gets a clear error; it never hangs."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from llamacffi import llama_cpp as llama
from support import gguf_files
from support.cells import returns
from support.child import outcome, told
from support.objects import busy, context_of, decode, load, load_and_decode, pool_of


def in_fork(function: Callable[[], object]) -> str:
    """Tell what a call in a child of fork returned or raised; SIGALRM ends one that hangs."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            os.write(writing, outcome(function).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        found = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return found


@returns((told((0, 0, None, None)), 0))
def test_a_forked_child_goes_on_with_model_and_context(model: Any, ctx: Any) -> object:
    decode(ctx)
    found = in_fork(
        lambda: (decode(ctx), decode(context_of(model)), llama.llama_free(ctx), llama.llama_model_free(model))
    )
    return found, decode(ctx)


@returns(told(0))
def test_a_forked_child_decodes_with_several_threads(model: Any) -> str:
    two = context_of(model, n_threads=2, n_threads_batch=2)
    decode(two)
    return in_fork(lambda: decode(two))


@returns(told((None, 0)))
def test_a_context_that_another_thread_was_in_is_free_in_the_child(model: Any, ctx: Any) -> str:
    """That thread is none of the child's. What it was doing is left half done, so the child only frees."""
    with busy(ctx):
        return in_fork(lambda: (llama.llama_free(ctx), decode(context_of(model))))


@returns((told((0, None, None)), 0))
def test_a_context_with_a_thread_pool_goes_on_without_it_in_the_child(ctx: Any) -> object:
    """The pool's threads stayed in the parent; waiting for them would be for ever."""
    llama.llama_attach_threadpool(ctx, pool_of(2), None)
    llama.llama_set_n_threads(ctx, 2, 2)
    decode(ctx)
    found = in_fork(lambda: (decode(ctx), llama.llama_detach_threadpool(ctx), llama.llama_free(ctx)))
    return found, decode(ctx)


OF_POOLS: dict[str, Callable[[Any, Any], object]] = {
    "llama_attach_threadpool": lambda ctx, pool: llama.llama_attach_threadpool(ctx, pool, None),
    "ggml_threadpool_free": lambda ctx, pool: llama.ggml_threadpool_free(pool),
}


@pytest.mark.parametrize("function", OF_POOLS)
@returns(True)
def test_a_parent_s_thread_pool_is_no_use_to_the_child(function: str, ctx: Any) -> bool:
    pool = pool_of(2)
    found = in_fork(lambda: OF_POOLS[function](ctx, pool))
    return bool(re.match(rf"LlamaValueError: {function}\(\): threadpool", found))


@returns({told(0)})
def test_forks_among_threads_that_load_and_free_never_hang() -> object:
    """A lock of ours that another thread holds at the fork must not stay locked in the child."""
    stop = threading.Event()

    def load_and_free() -> None:
        while not stop.is_set():
            model = load()
            ctx = context_of(model)
            decode(ctx)
            llama.llama_free(ctx)
            llama.llama_model_free(model)

    threads = [threading.Thread(target=load_and_free) for _ in range(3)]
    for thread in threads:
        thread.start()
    found = {in_fork(lambda: decode(context_of(load()))) for _ in range(60)}
    stop.set()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@returns(([0, 0, 0, 0], 0))
def test_multiprocessing_works_after_a_model_was_loaded(method: str, ctx: Any) -> object:
    decode(ctx)
    with multiprocessing.get_context(method).Pool(2) as pool:
        decoded = pool.map_async(load_and_decode, [gguf_files.shared()] * 4).get(40)
    return decoded, decode(ctx)
