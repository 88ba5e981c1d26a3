"""An assertion that fails on any thread of a graph is an exception of the call, and the pool computes again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llamacffi import LlamaAssertionError, LlamaError
from llamacffi import llama_cpp as llama
from support import gguf_files, learned_positions
from support.cells import refused, returns
from support.compute_threads import Workers, most_threads
from support.graphs import BEYOND, Graph
from support.objects import load, logits_of, pool_of

ROOM = 8
ALLOCATION_FAILED = llama.GGML_STATUS_ALLOC_FAILED

# Of so many threads, those that fail: 0 is the one that called, the others are workers.
FAILING = [
    (2, (0,)),
    (2, (1,)),
    (2, (0, 1)),
    (4, (0,)),
    (4, (1,)),
    (4, (3,)),
    (4, (1, 2, 3)),
    (4, (0, 1, 2, 3)),
]
failing = pytest.mark.parametrize(("n_threads", "threads"), FAILING)
pools = pytest.mark.parametrize("attached", [False, True], ids=["own", "attached"])


def context_with(n_threads: int, pool: Any = None) -> Any:
    """Make a context whose model asserts its positions, with a pool of its own or this one."""
    with most_threads(ROOM):
        ctx = learned_positions.context_of(load(gguf_files.shared("learned positions")), n_threads)
    if pool:
        llama.llama_attach_threadpool(ctx, pool, None)
    return ctx


def fail(ctx: Any, n_threads: int, threads: tuple[int, ...]) -> None:
    with pytest.raises(LlamaAssertionError):
        learned_positions.decode(ctx, n_threads, beyond=threads)


# ---------------------------------------------------------------- the exception


@pools
@failing
@refused(LlamaAssertionError, r"llama_decode\(\): ggml/src/ggml-cpu/ops.cpp:\d+: GGML_ASSERT\(i01 >= 0")
def test_an_assertion_on_any_thread_is_an_exception_of_the_call(
    attached: bool, n_threads: int, threads: tuple[int, ...]
) -> None:
    ctx = context_with(n_threads, pool_of(n_threads) if attached else None)
    learned_positions.decode(ctx, n_threads, beyond=threads)


@failing
@returns(True)
def test_it_fails_on_the_threads_that_the_tokens_fall_to(n_threads: int, threads: tuple[int, ...]) -> bool:
    here: list[bool] = []
    caller = threading.get_native_id()
    hook = llama.ggml_abort_callback_t(lambda message: here.append(threading.get_native_id() == caller))
    llama.ggml_set_abort_callback(hook)
    try:
        fail(context_with(n_threads), n_threads, threads)
    finally:
        llama.ggml_set_abort_callback(None)
    return sorted(here) == sorted(thread == 0 for thread in threads)


# ---------------------------------------------------------------- afterwards


@pools
@failing
@refused(LlamaError, r"llama_decode\(\): ctx .+ is broken by an assertion that failed in an earlier call")
def test_the_context_is_broken(attached: bool, n_threads: int, threads: tuple[int, ...]) -> None:
    ctx = context_with(n_threads, pool_of(n_threads) if attached else None)
    fail(ctx, n_threads, threads)
    learned_positions.decode(ctx, n_threads)


@failing
@returns(0)
def test_its_own_pool_ends_with_it(n_threads: int, threads: tuple[int, ...]) -> int:
    workers = Workers()
    ctx = context_with(n_threads)
    fail(ctx, n_threads, threads)
    llama.llama_free(ctx)
    return workers.count_left(0)


@failing
@returns((0, True, 0))
def test_an_attached_pool_computes_for_another_context_and_ends(n_threads: int, threads: tuple[int, ...]) -> object:
    expected = logits_with(context_with(n_threads), n_threads)
    workers, pool = Workers(), pool_of(n_threads)
    broken = context_with(n_threads, pool)
    fail(broken, n_threads, threads)
    other = context_with(n_threads, pool)
    decoded = learned_positions.decode(other, n_threads)
    right = logits_of(other).tobytes() == expected
    for ctx in (broken, other):
        llama.llama_free(ctx)
    llama.ggml_threadpool_free(pool)
    return decoded, right, workers.count_left(0)


def logits_with(ctx: Any, n_threads: int) -> bytes:
    learned_positions.decode(ctx, n_threads)
    found = logits_of(ctx).tobytes()
    llama.llama_free(ctx)
    return found


@pools
@failing
@returns(0)
def test_its_workers_are_asleep(attached: bool, n_threads: int, threads: tuple[int, ...]) -> int:
    """Nobody is left spinning in the graph: no worker runs in half a second, which no event would end."""
    workers = Workers()
    ctx = context_with(n_threads, pool_of(n_threads) if attached else None)
    fail(ctx, n_threads, threads)
    return workers.count_that_run(lambda: time.sleep(0.5))


@pytest.mark.parametrize("poll", [0, 50])
@returns({0})
def test_good_and_failing_graphs_take_turns_in_one_pool(poll: int) -> set[int]:
    pool = pool_of(4, poll=poll)
    return set(turns(pool))


def turns(pool: Any) -> Iterator[int]:
    for _ in range(25):
        for n_threads, threads in FAILING:
            yield Graph(range(n_threads)).compute_with(pool, n_threads)
            with pytest.raises(LlamaAssertionError):
                rows_beyond(n_threads, threads).compute_with(pool, n_threads)


# ---------------------------------------------------------------- graphs that the caller computes


def rows_beyond(n_threads: int, threads: tuple[int, ...], **fields: int) -> Graph:
    """Make a graph of a row for each thread, which is none for these."""
    return Graph((BEYOND if thread in threads else 0 for thread in range(n_threads)), **fields)


WAYS: dict[str, Callable[[Graph, int], int]] = {
    "ggml_graph_compute_with_ctx": Graph.compute,
    "ggml_graph_compute": lambda graph, n_threads: graph.compute_with(None, n_threads),
    "ggml_backend_graph_compute": Graph.compute_on_backend,
}


@pytest.mark.parametrize("function", WAYS)
@failing
@refused(
    LlamaAssertionError,
    lambda function, n_threads, threads: rf"{function}\(\): ggml/src/ggml-cpu/ops.cpp:\d+: GGML_ASSERT\(i01 >= 0",
)
def test_a_graph_of_the_caller_s_own_raises_as_well(function: str, n_threads: int, threads: tuple[int, ...]) -> None:
    WAYS[function](rows_beyond(n_threads, threads), n_threads)


@pytest.mark.parametrize("function", WAYS)
@failing
@returns((0, 0))
def test_the_threads_of_that_graph_end(function: str, n_threads: int, threads: tuple[int, ...]) -> object:
    workers = Workers()
    with pytest.raises(LlamaAssertionError):
        WAYS[function](rows_beyond(n_threads, threads), n_threads)
    return WAYS[function](Graph(range(n_threads)), n_threads), workers.count_left(0)


WIDE = 2**24  # floats: copying a row takes longer than a wait that does not sleep


@refused(LlamaAssertionError, r"ggml_graph_compute\(\): ggml/src/ggml-cpu/ops.cpp:\d+: GGML_ASSERT\(i01 >= 0")
def test_a_worker_that_sleeps_in_a_barrier_is_woken() -> None:
    """Of five rows the calling thread has two, and fails at the second; the fourth thread has none, and waits."""
    Graph([0, BEYOND, 0, 0, 0], WIDE).compute_with(pool_of(4), 4)


@returns((20, 0))
def test_two_pools_fail_side_by_side() -> object:
    """Their threads may sleep in one bed, and be woken for the other pool."""
    failures: list[LlamaAssertionError] = []

    def work() -> None:
        pool = pool_of(3)
        for _ in range(10):
            with pytest.raises(LlamaAssertionError) as raised:
                rows_beyond(3, (1,)).compute_with(pool, 3)
            failures.append(raised.value)
        llama.ggml_threadpool_free(pool)

    workers = Workers()
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(failures), workers.count_left(0)


# ---------------------------------------------------------------- no memory


@returns((0, ALLOCATION_FAILED, 0))
def test_a_backend_without_memory_for_its_threads_says_so_and_goes_on() -> object:
    """Its buffer of before is gone by then; it must not be used again, nor freed twice."""
    ggml = llama.ggml_init(llama.ggml_init_params(mem_size=2**28, mem_buffer=None, no_alloc=False))
    small, large = (sum_with_quantized(ggml, size) for size in (2**6, 2**22))
    backend = llama.ggml_backend_cpu_init()
    before = llama.ggml_backend_graph_compute(backend, small)
    llama.ggml_backend_cpu_set_n_threads(backend, 500)  # which want 8 GiB, more than a child may have
    without = llama.ggml_backend_graph_compute(backend, large)
    llama.ggml_backend_cpu_set_n_threads(backend, 2)
    after = llama.ggml_backend_graph_compute(backend, small)
    llama.ggml_backend_free(backend)
    return before, without, after


def sum_with_quantized(ggml: Any, size: int) -> Any:
    """Make a graph for which each thread needs a buffer of so many floats."""
    terms = (llama.ggml_new_tensor_1d(ggml, kind, size) for kind in (llama.GGML_TYPE_Q8_0, llama.GGML_TYPE_F32))
    graph = llama.ggml_new_graph(ggml)
    llama.ggml_build_forward_expand(graph, llama.ggml_add(ggml, *terms))
    return graph
