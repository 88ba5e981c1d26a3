"""fork and spawn after a model was loaded: the child decodes, or gets a clear error; it never hangs."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from llamacffi import LlamaAssertionError
from llamacffi import llama_cpp as llama
from support import gguf_files
from support.cells import returns
from support.checkout import TESTS
from support.child import outcome, told
from support.compute_threads import Workers, most_threads
from support.graphs import BEYOND, Graph
from support.objects import (
    abort_with,
    busy,
    context_of,
    decode,
    load,
    load_and_decode,
    load_decode_and_free,
    pool_of,
    repeating,
)
from support.processes import run_python


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


def compute_with(n_threads: int, model: Any) -> Any:
    """Make a context that computes with so many threads, and let it begin to."""
    with most_threads(n_threads):
        ctx = context_of(model, n_threads=n_threads, n_threads_batch=n_threads)
    assert decode(ctx) == 0
    return ctx


@returns((told((1, 0, 3, None, 1)), 0, 2))
def test_a_forked_child_computes_with_threads_of_its_own(model: Any) -> object:
    """Of the parent's threads only the one that forked is there; the parent goes on with all of its own."""
    workers = Workers()
    ctx = compute_with(3, model)

    def go_on() -> tuple[object, ...]:
        alone, decoded, together = threads_here(), decode(ctx), threads_here()
        return alone, decoded, together, llama.llama_free(ctx), threads_here(1)

    return in_fork(go_on), decode(ctx), workers.count()


def threads_here(expected: int | None = None) -> int:
    """Count all threads of this process, once those that were joined are gone where a number is expected."""
    everything = Workers(all_threads=True)
    return everything.count() if expected is None else everything.count_left(expected)


@returns(told((0, told((0, None)))))
def test_a_grandchild_computes_as_well(model: Any) -> str:
    ctx = compute_with(3, model)
    return in_fork(lambda: (decode(ctx), in_fork(lambda: (decode(ctx), llama.llama_free(ctx)))))


@returns((told((0, None)), [0]))
def test_a_fork_while_other_threads_compute_leaves_the_child_able_to(model: Any) -> object:
    """A worker that was inside of a wait, and held its pool's lock, is not in the child."""
    ctx, free = compute_with(3, model), compute_with(3, model)
    with busy(ctx) as decoded:
        found = in_fork(lambda: (decode(free), llama.llama_free(ctx)))
    return found, decoded


@pytest.mark.parametrize("attached", [False, True])
@returns({told((0, 0, None))})
def test_forks_among_threads_that_compute_never_hang(attached: bool, model: Any) -> object:
    """Workers that do not poll take their pool's lock for each graph, and so may hold it at the fork."""
    own, contexts = compute_with(2, model), [compute_with(3, model) for _ in range(2)]
    for ctx in contexts if attached else []:
        llama.llama_attach_threadpool(ctx, pool_of(3, poll=0), None)

    def compute(ctx: Any) -> None:
        llama.llama_memory_clear(llama.llama_get_memory(ctx), True)
        decode(ctx)

    def go_on() -> object:
        return decode(own), decode(compute_with(2, model)), llama.llama_free(own)

    with contextlib.ExitStack() as threads:
        for ctx in contexts:
            threads.enter_context(repeating(functools.partial(compute, ctx), 1))
        return {in_fork(go_on) for _ in range(40)}


@returns(told((None, 0)))
def test_a_context_that_another_thread_was_in_is_free_in_the_child(model: Any, ctx: Any) -> str:
    """That thread is none of the child's. What it was doing is left half done, so the child only frees."""
    with busy(ctx):
        return in_fork(lambda: (llama.llama_free(ctx), decode(context_of(model))))


@pytest.mark.parametrize("sizes", [(2,), (2, 3)], ids=["one", "two"])
@returns((told(((2, 0, 2), None, None, 1)), 0, (4, 4)))
def test_a_context_with_the_user_s_pools_goes_on_with_its_own_in_the_child(sizes: tuple[int, ...], ctx: Any) -> object:
    """The pools' threads stayed in the parent; waiting for them would be for ever."""
    with most_threads(2):
        ctx = context_of(llama.llama_get_model(ctx), n_threads=4, n_threads_batch=4)
    pools = [pool_of(size) for size in sizes]
    llama.llama_attach_threadpool(ctx, pools[0], pools[-1] if len(pools) > 1 else None)
    decode(ctx)

    def go_on() -> tuple[object, ...]:
        found = llama.llama_n_threads(ctx), decode(ctx), threads_here()
        return found, llama.llama_detach_threadpool(ctx), llama.llama_free(ctx), threads_here(1)

    found = in_fork(go_on)
    return found, decode(ctx), (llama.llama_n_threads(ctx), llama.llama_n_threads_batch(ctx))


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
    """A lock that another thread holds at the fork must not stay locked in the child."""
    with repeating(load_decode_and_free, 3):
        return {in_fork(lambda: decode(context_of(load()))) for _ in range(60)}


@returns({told(0)})
def test_forks_among_threads_that_hold_ggml_s_own_lock_never_hang() -> object:
    """Each `ggml_init` takes it, and so does each load and each decode."""
    params = llama.ggml_init_params(mem_size=1024, mem_buffer=None, no_alloc=True)
    with repeating(lambda: llama.ggml_free(llama.ggml_init(params)), 3):
        return {in_fork(lambda: decode(context_of(load()))) for _ in range(100)}


FORK_DURING_THE_FIRST_USE = """
import os, pathlib, signal, sys, threading
from llamacffi import llama_cpp as llama
from support.objects import load_and_decode

llama.llama_model_params  # imports: Python itself leaves a module's lock locked in the child
path = pathlib.Path(sys.argv[1])
first = threading.Thread(target=load_and_decode, args=[path])
first.start()
children = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(load_and_decode(path))
    children.append(child)
    first.join(0.001)
print({os.waitpid(child, 0)[1] for child in children})
first.join()
"""


@pytest.mark.parametrize("n", range(3))
def test_forks_while_another_thread_uses_everything_for_the_first_time_never_hang(n: int) -> None:
    """What is made once, for the whole process, is not left half made: the backends, tables, types of ctypes."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    ended = run_python(FORK_DURING_THE_FIRST_USE, gguf_files.shared(), env={**os.environ, "PYTHONPATH": path})
    assert (ended.returncode, ended.stdout) == (0, "{0}\n"), ended.stderr


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@returns(([0, 0, 0, 0], 0))
def test_multiprocessing_works_after_a_model_was_loaded(method: str, ctx: Any) -> object:
    decode(ctx)
    with multiprocessing.get_context(method).Pool(2) as pool:
        decoded = pool.map_async(load_and_decode, [gguf_files.shared()] * 4).get(40)
    return decoded, decode(ctx)


@returns({told(0)})
def test_forks_among_threads_that_free_contexts_with_pools(model: Any) -> object:
    ctypes.CDLL(None).mallopt(-6, 165)  # M_PERTURB: what is freed does not look alive
    with repeating(lambda: llama.llama_free(compute_with(2, model)), 1):
        return {in_fork(lambda: 0) for _ in range(150)}


# ---------------------------------------------------------------- while the engine is inside of Python

Enter = Callable[[], object]


def logging(enter: Enter, call: Callable[[], object]) -> object:
    """Call something that logs."""
    llama.llama_log_set(llama.llama_log_callback(lambda *given: enter()), None)
    return call()


def fail_an_assertion(enter: Enter, thread: int) -> None:
    """Let an assertion fail on this thread of a graph of three; 0 is the one that calls."""
    llama.ggml_set_abort_callback(llama.ggml_abort_callback_t(lambda message: enter()))
    with pytest.raises(LlamaAssertionError):
        Graph(BEYOND if row == thread else 0 for row in range(3)).compute(3)


def decode_with_abort_callback(enter: Enter, model: Any) -> None:
    ctx = context_of(model)
    abort_with(ctx, lambda data: enter())
    decode(ctx)


INSIDE: dict[str, Callable[[Enter, Any], object]] = {
    "loading logs": lambda enter, model: logging(enter, load),
    "making a context logs": lambda enter, model: logging(enter, lambda: context_of(model)),
    "freeing a context logs": lambda enter, model: logging(enter, functools.partial(llama.llama_free, own(model))),
    "freeing a model logs": lambda enter, model: logging(enter, functools.partial(free_in_order, model)),
    "pools are attached": lambda enter, model: logging(enter, functools.partial(attach_and_detach, own(model))),
    "the number of threads is set": lambda enter, model: logging(
        enter, functools.partial(llama.llama_set_n_threads, own(model), 2, 2)
    ),
    "a progress callback": lambda enter, model: load(
        progress_callback=llama.llama_progress_callback(lambda *given: (enter(), True)[1])
    ),
    "an abort callback": decode_with_abort_callback,
    "an assertion": lambda enter, model: fail_an_assertion(enter, 0),
    "an assertion on a worker": lambda enter, model: fail_an_assertion(enter, 2),
}
inside = pytest.mark.parametrize("name", INSIDE)


def own(model: Any) -> Any:
    """Make a context with a pool."""
    return compute_with(3, model)


def free_in_order(model: Any) -> None:
    ctx = context_of(model)
    llama.llama_model_free(model)
    llama.llama_free(ctx)


def attach_and_detach(ctx: Any) -> None:
    llama.llama_attach_threadpool(ctx, pool_of(2), None)
    llama.llama_detach_threadpool(ctx)


def anew() -> int:
    """Do in a child what needs the locks: none of them may be held there by a thread that is not."""
    llama.llama_log_set(None, None)
    llama.ggml_set_abort_callback(None)
    return load_and_decode(gguf_files.shared())


@inside
@returns(told(0))
def test_a_fork_while_another_thread_is_in_a_callback(name: str, model: Any) -> str:
    """The callback waits for the fork, and the fork for each lock that the thread below the callback would hold."""
    entered, go_on = threading.Event(), threading.Event()

    here = os.getpid()

    def enter() -> None:
        entered.set()
        if os.getpid() == here:  # what forks logs as well, in the child, if contexts with pools are alive
            go_on.wait(20)

    thread = threading.Thread(target=INSIDE[name], args=(enter, model))
    thread.start()
    assert entered.wait(20)
    try:
        return in_fork(anew)
    finally:
        go_on.set()
        thread.join()


@inside
@returns([told(0)])
def test_a_fork_in_a_callback(name: str, model: Any) -> list[str]:
    """The forking thread itself would hold the locks."""
    found: list[str] = []

    def enter() -> None:
        if not found:
            found.append("forking")
            found[0] = in_fork(anew)

    INSIDE[name](enter, model)
    return found
