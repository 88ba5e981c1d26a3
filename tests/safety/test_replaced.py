"""A callback that is replaced while another thread is inside of it lives until that thread is out."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import llamacffi
from llamacffi import llama_cpp as llama
from support.cells import returns
from support.objects import context_of, decode, load


class Waiting:
    """A callback that another thread is inside of; `ended` is set when it has gone."""

    def __init__(self) -> None:
        self.entered, self.go_on, self.ended = threading.Event(), threading.Event(), threading.Event()

    def function(self) -> Callable[..., bool]:
        entered, go_on = self.entered, self.go_on

        def wait(*given: object) -> bool:
            entered.set()
            go_on.wait(20)
            return False

        weakref.finalize(wait, self.ended.set)
        return wait


def set_log(ctx: Any, function: Any) -> None:
    llama.llama_log_set(function and llama.llama_log_callback(function), None)


def set_abort(ctx: Any, function: Any) -> None:
    llama.llama_set_abort_callback(ctx, function and llama.ggml_abort_callback(function), None)


SETTERS: dict[str, tuple[Callable[[Any, Any], None], Callable[[Any], object]]] = {
    "log": (set_log, llama.llama_perf_context_print),
    "abort": (set_abort, decode),
}


@pytest.mark.parametrize("slot", SETTERS)
@returns((False, True))
def test_a_replaced_callback_lives_until_nobody_is_inside(slot: str, ctx: Any) -> object:
    setter, enter = SETTERS[slot]
    waiting = Waiting()
    setter(ctx, waiting.function())
    thread = threading.Thread(target=enter, args=[ctx])
    thread.start()
    assert waiting.entered.wait(20)
    setter(ctx, None)
    gc.collect()
    gone_before = waiting.ended.is_set()
    waiting.go_on.set()
    thread.join(20)
    gc.collect()
    return gone_before, waiting.ended.wait(20)


@returns(0)
def test_callbacks_are_replaced_in_a_hurry_while_other_threads_are_inside() -> int:
    ctx = context_of(load())
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            set_abort(ctx, lambda data: False)
            set_log(ctx, lambda *given: None)

    threads = [threading.Thread(target=replace) for _ in range(2)]
    for thread in threads:
        thread.start()
    results = {decode(ctx) for _ in range(100)}
    llama.llama_memory_clear(llama.llama_get_memory(ctx), True)
    stop.set()
    for thread in threads:
        thread.join(20)
    llamacffi.log_to(None)
    return max(results - {1})
