"""A context's own pool: made when it first computes with several threads, of the size it asks for, gone with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llamacffi import llama_cpp as llama
from support.cells import returns
from support.compute_threads import Workers, most_threads
from support.objects import abort_with, context_of, decode

ROOM = 8  # more than any context here asks for
TOKEN, PROMPT = (5,), (5, 6, 7)


def context_with(model: Any, n_threads: int, n_threads_batch: int | None = None) -> Any:
    batch = n_threads if n_threads_batch is None else n_threads_batch
    with most_threads(ROOM):
        return context_of(model, n_threads=n_threads, n_threads_batch=batch)


@returns((0, 0, 3))
def test_the_first_decode_makes_the_pool(model: Any) -> object:
    """The thread that calls is one of the four that compute."""
    workers = Workers()
    ctx = context_with(model, 4)
    return workers.count(), decode(ctx), workers.count()


@returns((0, 3))
def test_a_batch_ext_is_computed_with_the_pool_as_well(model: Any) -> object:
    workers = Workers()
    ctx = context_with(model, 4)
    batch = llama.llama_batch_ext_init(ctx)
    llama.llama_batch_ext_add_token(batch, 0, 5)
    return llama.llama_process(ctx, llama.LLAMA_PROCESS_TYPE_DECODE, batch), workers.count()


@returns((2, 0, True))
def test_a_decode_that_was_aborted_leaves_a_pool_that_computes(model: Any) -> object:
    """Its threads leave the graph together, wherever they are in it."""
    workers = Workers()
    ctx = context_with(model, 4)
    decode(ctx)
    made = workers.ids()
    answers = iter([False] * 5 + [True])
    abort_with(ctx, lambda data: next(answers, False))
    return decode(ctx), decode(ctx), workers.ids() == made


@returns((0, 0))
def test_one_thread_needs_no_pool(model: Any) -> object:
    workers = Workers()
    ctx = context_with(model, 1)
    return decode(ctx), workers.count()


@returns((0, 0, True))
def test_a_pool_stays_from_decode_to_decode(model: Any) -> object:
    workers = Workers()
    ctx = context_with(model, 3)
    first, made = decode(ctx, PROMPT), workers.ids()
    return first, decode(ctx, TOKEN), workers.ids() == made


@returns((3, 3))
def test_one_pool_serves_prompt_and_generation_of_one_size(model: Any) -> object:
    workers = Workers()
    ctx = context_with(model, 4, 4)
    counts = [decode(ctx, tokens) or workers.count() for tokens in (PROMPT, TOKEN)]
    return tuple(counts)


@pytest.mark.parametrize("first", [PROMPT, TOKEN])
@returns(3 + 2)
def test_prompt_and_generation_of_two_sizes_have_a_pool_each(first: tuple[int, ...], model: Any) -> object:
    workers = Workers()
    ctx = context_with(model, 4, 3)
    return decode(ctx, first) or workers.count()


@returns((3, 2))
def test_each_of_two_sizes_is_used_for_its_own(model: Any) -> object:
    """A change of pools wakes both: the second decode of a kind shows whose workers compute."""
    workers = Workers()
    ctx = context_with(model, 4, 3)
    return decode_twice(workers, ctx, TOKEN), decode_twice(workers, ctx, PROMPT)


@returns((0, 2))
def test_one_of_the_two_may_be_a_single_thread(model: Any) -> object:
    workers = Workers()
    ctx = context_with(model, 1, 3)
    return decode_twice(workers, ctx, TOKEN), decode_twice(workers, ctx, PROMPT)


def decode_twice(workers: Workers, ctx: Any, tokens: tuple[int, ...]) -> int:
    """Return how many workers the second decode wakes."""
    decode(ctx, tokens)
    return workers.count_that_run(lambda: decode(ctx, tokens))


@returns((3, 0, 1))
def test_another_size_ends_the_pool_at_once_and_makes_one_at_the_next_decode(model: Any) -> object:
    workers = Workers()
    ctx = context_with(model, 4)
    made = decode(ctx) or workers.count()
    llama.llama_set_n_threads(ctx, 2, 2)
    left = workers.count_left(0)
    return made, left, decode(ctx) or workers.count()


@returns((True, 0, True))
def test_the_same_size_again_keeps_the_pool(model: Any) -> object:
    workers = Workers()
    ctx = context_with(model, 4)
    decode(ctx)
    made = workers.ids()
    llama.llama_set_n_threads(ctx, 4, 4)
    return workers.ids() == made, decode(ctx), workers.ids() == made


@returns((0, 0, 0))
def test_a_single_thread_ends_the_pool(model: Any) -> object:
    workers = Workers()
    ctx = context_with(model, 4)
    decode(ctx)
    llama.llama_set_n_threads(ctx, 1, 1)
    return workers.count_left(0), decode(ctx), workers.count()


@returns((3 + 2, 2, 0))
def test_each_context_has_its_own_and_takes_it_along(model: Any) -> object:
    workers = Workers()
    one, two = context_with(model, 4), context_with(model, 3)
    made = decode(one) or decode(two) or workers.count()
    return made, free(one, workers, 2), free(two, workers, 0)


def free(ctx: Any, workers: Workers, expected: int) -> int:
    llama.llama_free(ctx)
    return workers.count_left(expected)


@returns(0)
def test_a_freed_context_of_two_sizes_leaves_no_thread(model: Any) -> int:
    workers = Workers()
    ctx = context_with(model, 4, 3)
    decode(ctx)
    return free(ctx, workers, 0)


@returns(0)
def test_a_model_freed_before_its_context_changes_nothing(model: Any) -> int:
    workers = Workers()
    ctx = context_with(model, 4)
    decode(ctx)
    llama.llama_model_free(model)
    return free(ctx, workers, 0)


@returns((50 * [3], 0))
def test_fifty_contexts_that_computed_leave_no_thread(model: Any) -> object:
    workers = Workers()
    return list(threads_of_fifty(model, workers)), workers.count_left(0)


def threads_of_fifty(model: Any, workers: Workers) -> Iterator[int]:
    for _ in range(50):
        ctx = context_with(model, 4)
        yield decode(ctx) or workers.count()
        free(ctx, workers, 0)


@returns(0)
def test_a_hundred_contexts_that_do_not_compute_have_no_thread(model: Any) -> int:
    workers = Workers()
    contexts = [context_with(model, 4) for _ in range(100)]
    return workers.count() if all(contexts) else -1
