"""Threads: one context serves one at a time, and says so; contexts of one model run side by side.

What overlaps is told by events, not by the clock; how much faster two threads are is measured by benchmarks/checks.py.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from ctypes import byref
from typing import Any

import pytest

from llamacffi import LlamaError, LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import returns
from support.objects import abort_with, busy, candidates, chain_of, context_of, decode, load, user_sampler


def together(*functions: Callable[[], object]) -> None:
    """Run each in a thread of its own, all to their ends."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


REFUSED: dict[str, Callable[[Any, Any], object]] = {
    "a second decode": lambda ctx, memory: decode(ctx),
    "freeing the context": lambda ctx, memory: llama.llama_free(ctx),
    "reading logits": lambda ctx, memory: llama.llama_get_logits_ith(ctx, -1),
    "clearing its memory": lambda ctx, memory: llama.llama_memory_clear(memory, True),
    "saving its state": lambda ctx, memory: llama.llama_state_get_data(ctx, bytearray(10_000), 10_000),
    "changing its threads": lambda ctx, memory: llama.llama_set_n_threads(ctx, 1, 1),
    "sampling from it": lambda ctx, memory: llama.llama_sampler_sample(llama.llama_sampler_init_greedy(), ctx, -1),
}


@pytest.mark.parametrize("call", REFUSED)
@returns(([0], None))
def test_a_second_thread_in_a_context_gets_an_error_at_once(call: str, ctx: Any) -> object:
    memory = llama.llama_get_memory(ctx)
    with busy(ctx) as decoded, pytest.raises(LlamaError, match=r"^llama_\w+\(\): .+ is in use by another thread"):
        REFUSED[call](ctx, memory)
    return decoded, llama.llama_free(ctx)


@returns((256, [0], None))
def test_what_keeps_the_gil_may_be_asked_of_a_busy_context(ctx: Any) -> object:
    with busy(ctx) as decoded:
        asked = llama.llama_n_ctx(ctx)
    return asked, decoded, llama.llama_free(ctx)


@returns((0, [], [0]))
def test_another_context_of_the_model_decodes_meanwhile(model: Any, ctx: Any) -> object:
    """The first thread is inside C, and stays there until the second one has decoded."""
    with busy(ctx) as decoded:
        other, before = decode(context_of(model)), list(decoded)
    return other, before, decoded


@returns(([0], None))
def test_a_model_freed_during_a_decode_lives_until_the_context_goes(model: Any, ctx: Any) -> object:
    with busy(ctx) as decoded:
        llama.llama_model_free(model)
        with pytest.raises(LlamaValueError, match="has freed"):
            llama.llama_model_n_embd(model)
    return decoded, llama.llama_free(ctx)


@returns(None)
def test_a_chain_in_use_is_not_freed_by_another_thread() -> object:
    entered, go_on = threading.Event(), threading.Event()

    def apply(sampler: object, array: object) -> None:
        entered.set()
        go_on.wait(20)

    chain, array = chain_of(user_sampler(apply=apply)), candidates()
    thread = threading.Thread(target=llama.llama_sampler_apply, args=(chain, byref(array)))
    thread.start()
    assert entered.wait(20)
    with pytest.raises(LlamaError, match="in use"):
        llama.llama_sampler_free(chain)
    go_on.set()
    thread.join(20)
    return llama.llama_sampler_free(chain)


@returns(([0, 0], False))
def test_two_threads_are_inside_c_at_the_same_time(model: Any) -> object:
    """Each waits, inside of its decode, for the other to be inside of its own."""
    both = threading.Barrier(2, timeout=20)
    once = threading.local()
    results = []

    def meet(data: object) -> bool:
        if not getattr(once, "met", False):
            once.met = True
            both.wait()
        return False

    def run() -> None:
        ctx = context_of(model)
        abort_with(ctx, meet)
        results.append(decode(ctx))

    together(run, run)
    return results, both.broken


@returns((0, True))
def test_the_gil_is_free_while_c_decodes(model: Any) -> object:
    """A counter in Python goes on during one long call without callbacks."""
    ctx = context_of(model, n_ctx=4096, n_batch=4096, n_ubatch=4096)
    counted, running = [0], threading.Event()

    def count() -> None:
        running.set()
        while running.is_set():
            counted[0] += 1
            time.sleep(0)  # nothing else makes it give the GIL up

    thread = threading.Thread(target=count)
    thread.start()
    assert running.wait(20)
    before, usual = counted[0], sys.getswitchinterval()
    sys.setswitchinterval(1000)
    result = decode(ctx, (5,) * 4000)
    after = counted[0]
    sys.setswitchinterval(usual)
    running.clear()
    thread.join(20)
    return result, after > before


@returns(True)
def test_many_threads_in_one_context_only_ever_get_errors(ctx: Any) -> bool:
    kinds: set[object] = set()

    def work() -> None:
        for _ in range(100):
            try:
                llama.llama_memory_clear(llama.llama_get_memory(ctx), True)
                kinds.add(decode(ctx, (1, 5)))
            except LlamaError as error:
                kinds.add("in use" if "in use" in str(error) else str(error))

    together(*[work] * 4)
    llama.llama_memory_clear(llama.llama_get_memory(ctx), True)
    return kinds <= {0, -1, "in use"} and decode(ctx) == 0


@returns([0] * 60)
def test_threads_that_load_and_free_do_not_disturb_each_other() -> object:
    results = []

    def work() -> None:
        for _ in range(20):
            model = load()
            ctx = context_of(model)
            results.append(decode(ctx))
            llama.llama_model_free(model)
            llama.llama_free(ctx)

    together(*[work] * 3)
    return results
