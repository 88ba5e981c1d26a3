"""`llamacffi.cancel` ends a decode that runs, from wherever it is called, and the context goes on."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable
from ctypes import c_void_p
from typing import Any

import pytest

import llamacffi
from llamacffi import llama_cpp as llama
from support.cells import alone, returns
from support.objects import abort_with, busy, context_of, decode, logits_of

ABORTED = 2  # llama.h


def slow_callback(entered: threading.Event, go_on: threading.Event, after: int = 0) -> Callable[[Any], bool]:
    """An abort callback that lets the test do something in the middle, and does not stop by itself."""
    asked = 0

    def wait(_: object) -> bool:
        nonlocal asked
        asked += 1
        if asked > after:
            entered.set()
            go_on.wait(20)
        return False

    return wait


def cancel_in(ctx: Any, act: Callable[[], object]) -> int:
    """Decode in a thread, act in the middle, and return what the decode gave."""
    entered, go_on = threading.Event(), threading.Event()
    abort_with(ctx, slow_callback(entered, go_on))
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(decode(ctx)))
    thread.start()
    assert entered.wait(20)
    act()
    go_on.set()
    thread.join(20)
    llama.llama_set_abort_callback(ctx, llama.ggml_abort_callback(), None)
    return results[0]


GIVEN: dict[str, Callable[[Any], Any]] = {
    "an int": lambda ctx: ctx,
    "a c_void_p": c_void_p,
    "cdata": lambda ctx: llamacffi.ffi.cast("struct llama_context *", ctx),
}


@pytest.mark.parametrize("form", GIVEN)
def test_a_decode_that_runs_is_aborted_and_the_next_one_is_not(context: Any, form: str) -> None:
    expected = decode(context), logits_of(context).tolist()
    llama.llama_memory_clear(llama.llama_get_memory(context), True)
    answers: list[bool] = []
    assert cancel_in(context, lambda: answers.append(llamacffi.cancel(GIVEN[form](context)))) == ABORTED
    assert answers == [True]
    llama.llama_memory_clear(llama.llama_get_memory(context), True)
    assert (decode(context), logits_of(context).tolist()) == expected


def test_where_nothing_is_computed_nothing_happens(context: Any) -> None:
    assert llamacffi.cancel(context) is False
    assert decode(context) == 0


def test_only_the_context_that_is_named_is_cancelled(tiny: Any, context: Any) -> None:
    other = context_of(tiny)
    with busy(other) as decoded:
        assert llamacffi.cancel(context) is False
    assert decoded == [0]
    llama.llama_free(other)


def test_it_may_be_asked_for_twice(context: Any) -> None:
    answers: list[bool] = []
    asked = cancel_in(context, lambda: answers.extend([llamacffi.cancel(context), llamacffi.cancel(context)]))
    assert (asked, answers) == (ABORTED, [True, True])


def test_a_long_prompt_ends_in_its_middle(tiny: Any) -> None:
    """Of 256 tokens in steps of 32, those steps that were done stay in the memory."""
    ctx = context_of(tiny, n_batch=256, n_ubatch=32)
    nodes = 0

    def count(_: object) -> bool:
        nonlocal nodes
        nodes += 1
        return False

    abort_with(ctx, count)
    assert decode(ctx, range(3, 35)) == 0
    llama.llama_memory_clear(llama.llama_get_memory(ctx), True)

    def cancel_in_the_third_step(_: object) -> bool:
        nonlocal nodes
        nodes -= 1
        if nodes < -nodes_of_a_step:
            llamacffi.cancel(ctx)
        return False

    nodes_of_a_step = nodes
    abort_with(ctx, cancel_in_the_third_step)
    assert decode(ctx, [5] * 200) == ABORTED
    assert llama.llama_memory_seq_pos_max(llama.llama_get_memory(ctx), 0) == 2 * 32 - 1
    llama.llama_free(ctx)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"cancel\(\): ctx .* must be a live llama_context"),
        (12345, r"cancel\(\): ctx .* no call returned"),
    ],
)
def test_what_is_no_context_is_refused(given: Any, message: str) -> None:
    with pytest.raises(llamacffi.LlamaValueError, match=message):
        llamacffi.cancel(given)


def test_neither_is_a_model_nor_one_that_is_freed(tiny: Any) -> None:
    with pytest.raises(llamacffi.LlamaValueError, match="llama_model"):
        llamacffi.cancel(tiny)
    freed = context_of(tiny)
    llama.llama_free(freed)
    with pytest.raises(llamacffi.LlamaValueError, match="freed"):
        llamacffi.cancel(freed)
    with pytest.raises(TypeError, match="str"):
        llamacffi.cancel("ctx")


@alone
@returns(ABORTED)
def test_a_signal_handler_may_cancel_what_the_main_thread_computes(ctx: Any) -> object:
    """A handler that does not raise: Python runs it in the middle of the decode."""
    signal.signal(signal.SIGUSR1, lambda *_: llamacffi.cancel(ctx))
    first = True

    def send(_: object) -> bool:
        nonlocal first
        if first:
            signal.raise_signal(signal.SIGUSR1)
        first = False
        return False

    abort_with(ctx, send)
    return decode(ctx)


def test_a_task_that_is_cancelled_ends_the_decode_of_its_thread(context: Any) -> None:
    """The recipe of docs/threads.md, with a decode that has begun. Cancelled twice, it is waited for all the same."""
    entered, go_on = threading.Event(), threading.Event()
    abort_with(context, slow_callback(entered, go_on))
    results: list[int] = []

    async def generate() -> None:
        computing = asyncio.ensure_future(asyncio.to_thread(lambda: results.append(decode(context))))
        try:
            await asyncio.shield(computing)
        except asyncio.CancelledError:
            while not computing.done():
                llamacffi.cancel(context)
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([computing], timeout=0.01)
            raise

    async def main() -> None:
        task = asyncio.create_task(generate())
        await asyncio.to_thread(entered.wait, 20)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert results == [ABORTED]
