"""Pools that the user attaches: they take the place of the context's own, and their sizes are the user's affair."""

from __future__ import annotations

import re
import resource
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from llamacffi import LlamaError, LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import refused, returns
from support.compute_threads import Workers, most_threads
from support.objects import busy, context_of, decode, pool_of

TOKEN, PROMPT = (5,), (5, 6, 7)


def context_that_asks_for(n_threads: int, model: Any, most: int) -> Any:
    with most_threads(most):
        return context_of(model, n_threads=n_threads, n_threads_batch=n_threads)


def told(ctx: Any) -> tuple[int, int]:
    return llama.llama_n_threads(ctx), llama.llama_n_threads_batch(ctx)


# ---------------------------------------------------------------- in the place of the context's own


@returns(((2, 2), (8, 8), (2, 2)))
def test_what_the_user_asked_for_holds_as_long_as_a_pool_is_attached(model: Any) -> object:
    ctx = context_that_asks_for(8, model, most=2)
    before = told(ctx)
    llama.llama_attach_threadpool(ctx, pool_of(4), None)
    attached = told(ctx)
    llama.llama_detach_threadpool(ctx)
    return before, attached, told(ctx)


@returns(((5, 6), (2, 2)))
def test_what_is_set_meanwhile_is_limited_when_the_pool_is_detached(model: Any) -> object:
    ctx = context_that_asks_for(8, model, most=2)
    llama.llama_attach_threadpool(ctx, pool_of(4), None)
    llama.llama_set_n_threads(ctx, 5, 6)
    attached = told(ctx)
    llama.llama_detach_threadpool(ctx)
    return attached, told(ctx)


@returns((3, 3 + 1, 1, 1))
def test_the_context_s_own_pool_goes_when_one_is_attached(model: Any) -> object:
    workers = Workers()
    ctx = context_that_asks_for(4, model, most=4)
    own = decode(ctx) or workers.count()
    pool = pool_of(2)
    both = workers.count()
    llama.llama_attach_threadpool(ctx, pool, None)
    left = workers.count_left(1)
    return own, both, left, decode(ctx) or workers.count()


@returns((3, 3))
def test_no_pool_is_made_beside_an_attached_one(model: Any) -> object:
    workers = Workers()
    ctx = context_that_asks_for(4, model, most=4)
    llama.llama_attach_threadpool(ctx, pool_of(4), None)
    return workers.count(), decode(ctx) or workers.count()


@returns((3, 3))
def test_one_attached_pool_computes_prompts_and_tokens(model: Any) -> object:
    workers = Workers()
    ctx = context_that_asks_for(4, model, most=1)
    llama.llama_attach_threadpool(ctx, pool_of(4), None)
    return decode_twice(workers, ctx, TOKEN), decode_twice(workers, ctx, PROMPT)


@returns((3, 2))
def test_of_two_attached_pools_each_computes_its_own(model: Any) -> object:
    workers = Workers()
    with most_threads(1):
        ctx = context_of(model, n_threads=4, n_threads_batch=3)
    llama.llama_attach_threadpool(ctx, pool_of(4), pool_of(3))
    return decode_twice(workers, ctx, TOKEN), decode_twice(workers, ctx, PROMPT)


def decode_twice(workers: Workers, ctx: Any, tokens: tuple[int, ...]) -> int:
    """Return how many workers the second decode wakes; the first one may wake those of another pool as well."""
    decode(ctx, tokens)
    return workers.count_that_run(lambda: decode(ctx, tokens))


# ---------------------------------------------------------------- let go


@returns([(0, 0, 0, 2)] * 50)
def test_a_pool_that_was_detached_may_be_freed_and_the_context_decodes(model: Any) -> object:
    """ggml's backend would keep the freed pool's address, and pause what is there then: once is no test."""
    return list(attached_and_freed(context_that_asks_for(3, model, most=3)))


def attached_and_freed(ctx: Any) -> Iterator[tuple[int, int, int, int]]:
    """Decode before, with and after an attached pool; tell the results, and how many threads there are at the end."""
    for _ in range(50):
        llama.llama_memory_clear(llama.llama_get_memory(ctx), True)
        llama.llama_set_n_threads(ctx, 1, 1)
        workers = Workers()
        llama.llama_set_n_threads(ctx, 3, 3)
        pool = pool_of(2)
        before = decode(ctx)
        llama.llama_attach_threadpool(ctx, pool, pool)
        attached = decode(ctx)
        llama.llama_detach_threadpool(ctx)
        llama.ggml_threadpool_free(pool)
        yield before, attached, decode(ctx), workers.count_left(2)


@returns((0, 0))
def test_another_pool_may_take_the_place_of_an_attached_one_and_the_first_be_freed(model: Any) -> object:
    ctx = context_that_asks_for(2, model, most=2)
    first = pool_of(2)
    llama.llama_attach_threadpool(ctx, first, None)
    decoded = decode(ctx)
    llama.llama_attach_threadpool(ctx, pool_of(2), None)
    llama.ggml_threadpool_free(first)
    return decoded, decode(ctx)


@returns((0, 0))
def test_a_pool_outlives_the_context_and_serves_the_next_one(model: Any) -> object:
    pool, results = pool_of(2), []
    for _ in range(2):
        ctx = context_that_asks_for(2, model, most=2)
        llama.llama_attach_threadpool(ctx, pool, None)
        results.append(decode(ctx))
        llama.llama_free(ctx)
    return tuple(results)


@returns((1, 1))
def test_freeing_the_context_leaves_an_attached_pool_alone(model: Any) -> object:
    workers = Workers()
    ctx = context_that_asks_for(2, model, most=2)
    llama.llama_attach_threadpool(ctx, pool_of(2), None)
    decoding = decode(ctx) or workers.count()
    llama.llama_free(ctx)
    return decoding, workers.count()


# ---------------------------------------------------------------- while it computes


def two_contexts_of_one_pool(model: Any) -> tuple[Any, Any]:
    pool = pool_of(2)
    contexts = [context_that_asks_for(2, model, most=2) for _ in range(2)]
    for ctx in contexts:
        llama.llama_attach_threadpool(ctx, pool, None)
    return contexts[0], contexts[1]


@refused(LlamaError, r"llama_detach_threadpool\(\): ctx .+ uses a ggml_threadpool that is in use by another thread")
def test_a_pool_that_computes_for_another_context_cannot_be_detached(model: Any) -> None:
    """Whoever lets go of a pool pauses it, and the other context's workers would never come."""
    computing, other = two_contexts_of_one_pool(model)
    with busy(computing):
        llama.llama_detach_threadpool(other)


@refused(LlamaError, r"llama_attach_threadpool\(\): ctx .+ uses a ggml_threadpool that is in use by another thread")
def test_nor_can_another_pool_take_its_place(model: Any) -> None:
    computing, other = two_contexts_of_one_pool(model)
    with busy(computing):
        llama.llama_attach_threadpool(other, pool_of(2), None)


@refused(LlamaError, r"llama_attach_threadpool\(\): ctx .+ is in use by another thread")
def test_none_can_be_attached_to_a_context_that_computes(model: Any) -> None:
    ctx = context_that_asks_for(2, model, most=2)
    with busy(ctx):
        llama.llama_attach_threadpool(ctx, pool_of(2), None)


@returns(([0], 0, None, 0))
def test_after_the_refusal_the_decode_ends_well_and_the_pool_can_be_detached(model: Any) -> object:
    computing, other = two_contexts_of_one_pool(model)
    with busy(computing) as decoded, pytest.raises(LlamaError):
        llama.llama_detach_threadpool(other)
    return decoded, decode(other), llama.llama_detach_threadpool(other), decode(other)


@returns((None, [0]))
def test_a_context_with_another_pool_can_let_go_of_it_meanwhile(model: Any) -> object:
    computing, other = (context_that_asks_for(2, model, most=2) for _ in range(2))
    for ctx in (computing, other):
        llama.llama_attach_threadpool(ctx, pool_of(2), None)
    with busy(computing) as decoded:
        detached = llama.llama_detach_threadpool(other)
    return detached, decoded


@refused(LlamaError, r"llama_decode\(\): ctx .+ uses a ggml_threadpool that is in use by another thread")
def test_a_pool_computes_for_one_context_at_a_time(model: Any) -> object:
    computing, other = two_contexts_of_one_pool(model)
    with busy(computing):
        return decode(other)


@returns(True)
def test_two_contexts_that_share_a_pool_do_not_end_the_process(model: Any) -> bool:
    def work(ctx: Any) -> None:
        for _ in range(1500):
            try:
                llama.llama_memory_clear(llama.llama_get_memory(ctx), True)
                decode(ctx, [5] * 200)
            except LlamaError:
                pass

    threads = [threading.Thread(target=work, args=(ctx,)) for ctx in two_contexts_of_one_pool(model)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return True


# ---------------------------------------------------------------- pools of a backend


@refused(LlamaValueError, r"ggml_threadpool_resume\(\): .+ that ggml_threadpool_free\(\) has freed")
def test_a_freed_pool_is_dead_although_a_backend_has_it() -> None:
    backend, pool = llama.ggml_backend_cpu_init(), pool_of(2)
    llama.ggml_backend_cpu_set_threadpool(backend, pool)
    llama.ggml_threadpool_free(pool)
    llama.ggml_threadpool_resume(pool)


@returns([1, 1, 1, 0])
def test_a_pool_ends_when_its_backend_lets_go_of_it() -> list[int]:
    """C pauses a pool that is replaced."""
    workers, counts = Workers(), []
    backend, pool = llama.ggml_backend_cpu_init(), pool_of(2)
    llama.ggml_backend_cpu_set_threadpool(backend, pool)
    counts.append(workers.count())
    llama.ggml_threadpool_free(pool)
    counts.append(workers.count())
    other = pool_of(2)
    llama.ggml_backend_cpu_set_threadpool(backend, other)
    counts.append(workers.count_left(1))
    llama.ggml_threadpool_free(other)
    llama.ggml_backend_cpu_set_threadpool(backend, None)
    counts.append(workers.count_left(0))
    return counts


@returns((1, 0))
def test_a_freed_pool_ends_with_the_backend_that_has_it() -> tuple[int, int]:
    workers = Workers()
    backend, pool = llama.ggml_backend_cpu_init(), pool_of(2)
    llama.ggml_backend_cpu_set_threadpool(backend, pool)
    llama.ggml_threadpool_free(pool)
    before = workers.count()
    llama.ggml_backend_free(backend)
    return before, workers.count_left(0)


# ---------------------------------------------------------------- pools that cannot be made


@returns((True, 0, 1))
def test_a_pool_whose_threads_cannot_be_started_leaves_none_behind() -> object:
    """Each thread takes some megabytes of addresses for its stack."""
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.RLIM_INFINITY))
    workers, refused = Workers(), None
    try:
        pool_of(512)
    except LlamaError as error:
        refused = re.match(r"ggml_threadpool_new\(\): thread \d+ of 512 could not be started \(", str(error))
    left = workers.count_left(0)
    pool_of(2)
    return bool(refused), left, workers.count()
