"""Threads: one context serves one at a time, and says so or lets wait; contexts of one model run side by side.

What overlaps is told by events, not by the clock; how much faster two threads are is measured by benchmarks/checks.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from ctypes import byref
from typing import Any

import pytest

from llamacffi import LlamaError, LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import alone, raises, returns
from support.objects import Gate, abort_with, busy, candidates, chain_of, context_of, decode, load, user_sampler


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
    "clearing its memory": lambda ctx, memory: llama.llama_memory_clear(memory, True),
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


# ---------------------------------------------------------------- calls that read, and soon end

READS: dict[str, Callable[[Any], object]] = {
    "times": llama.llama_perf_context,
    "the last position": lambda ctx: llama.llama_memory_seq_pos_max(llama.llama_get_memory(ctx), 0),
    "the state's size": llama.llama_state_get_size,
    "the state": lambda ctx: llama.llama_state_get_data(ctx, bytearray(100_000), 100_000),
    "logits": lambda ctx: llama.llama_get_logits_ith(ctx, -1),
    "embeddings": llama.llama_get_embeddings,
}


class Reader:
    """A thread that reads; `seen` is what it got, and whether `allowed` was set then."""

    def __init__(self, read: Callable[[], object]) -> None:
        self.allowed = threading.Event()
        self.seen: list[object] = []
        begun = threading.Event()

        def work() -> None:
            begun.set()
            try:
                self.seen.append((type(read()).__name__, self.allowed.is_set()))
            except LlamaError as error:
                self.seen.append(str(error))

        self.thread = threading.Thread(target=work, name="reader")
        self.thread.start()
        assert begun.wait(20)

    def end(self) -> list[object]:
        self.thread.join(20)
        return self.seen


@pytest.mark.parametrize("what", READS)
@returns(([0], True))
def test_who_reads_waits_for_a_decode(what: str, ctx: Any) -> object:
    decode(ctx)
    expected = type(READS[what](ctx)).__name__
    with busy(ctx) as decoded:
        reader = Reader(lambda: READS[what](ctx))
        reader.allowed.set()
    return decoded, reader.end() == [(expected, True)]


@contextlib.contextmanager
def reading(ctx: Any) -> Iterator[threading.Event]:
    """Have another thread inside of a call that only reads, held by the log callback, until the event is set."""
    gate = Gate()

    def log(level: int, text: bytes, data: object) -> None:
        if threading.current_thread().name == "reading":
            gate.wait()

    callback = llama.llama_log_callback(log)
    llama.llama_log_set(callback, None)
    with gate.holding(lambda: llama.llama_get_logits_ith(ctx, 99), "reading"):
        yield gate.go_on


WAITING: dict[str, Callable[[Any], object]] = {
    "a decode": decode,
    "clearing the memory": lambda ctx: llama.llama_memory_clear(llama.llama_get_memory(ctx), True),
    "another read": llama.llama_state_get_size,
    "freeing": llama.llama_free,
}


@pytest.mark.parametrize("what", WAITING)
@returns(True)
def test_whatever_meets_one_that_reads_waits_for_it(what: str, model: Any) -> object:
    """Also a decode: it is never the one that fails."""
    ctx = context_of(model)
    with reading(ctx) as go_on:
        waiting = Reader(lambda: WAITING[what](ctx))
        waiting.allowed.set()
        go_on.set()
    return waiting.end() in ([("int", True)], [("NoneType", True)])


@returns(([0] * 50, True))
def test_decodes_one_after_the_other_let_a_reader_in(ctx: Any) -> object:
    """The thread that decodes gives up the GIL inside of decodes alone."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    decode(ctx)
    seen: list[int] = []
    results: list[int] = []

    def read() -> None:
        for _ in range(3):
            llama.llama_perf_context(ctx)
            seen.append(len(results))

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(50):
        llama.llama_memory_clear(llama.llama_get_memory(ctx), True)
        results.append(decode(ctx))
    thread.join(20)
    sys.setswitchinterval(usual)
    return results, len(seen) == 3 and seen[-1] < 50


FREED = "llama_perf_context(): ctx (const struct llama_context *) is a llama_context that llama_free() has freed"


@returns(([0], [FREED]))
def test_who_waits_for_a_context_that_is_freed_then_is_told(model: Any) -> object:
    ctx = context_of(model)
    decoded: list[int] = []
    entered, go_on, usual = threading.Event(), threading.Event(), sys.getswitchinterval()

    def wait(data: object) -> bool:
        entered.set()
        return not go_on.wait(20)

    def work() -> None:
        decoded.append(decode(ctx))
        llama.llama_free(ctx)

    abort_with(ctx, wait)
    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(20)
    reader = Reader(lambda: llama.llama_perf_context(ctx))
    sys.setswitchinterval(1000)  # nobody comes between the decode and the end
    go_on.set()
    thread.join(20)
    sys.setswitchinterval(usual)
    return decoded, reader.end()


@alone
@raises(
    LlamaError,
    r"llama_perf_context\(\): ctx \(const struct llama_context \*\) is in use by another thread, 'the decoder', in "
    r"llama_decode\(\)$",
)
def test_the_setting_makes_who_reads_raise_at_once(ctx: Any) -> None:
    os.environ["LLAMACFFI_BUSY"] = "raise"
    with busy(ctx, name="the decoder"):
        llama.llama_perf_context(ctx)


@alone
@raises(LlamaValueError, "LLAMACFFI_BUSY should be wait or raise, not never")
def test_a_setting_that_there_is_not_is_told(ctx: Any) -> None:
    os.environ["LLAMACFFI_BUSY"] = "never"
    with busy(ctx):
        llama.llama_perf_context(ctx)


@alone
@returns([0])
def test_the_setting_does_not_make_a_decode_raise(ctx: Any) -> object:
    os.environ["LLAMACFFI_BUSY"] = "raise"
    results: list[int] = []
    with reading(ctx) as go_on:
        thread = threading.Thread(target=lambda: results.append(decode(ctx)))
        thread.start()
        go_on.set()
    thread.join(20)
    return results


@alone
@returns(([0], True))
def test_ctrl_c_ends_the_wait(ctx: Any) -> object:
    with busy(ctx) as decoded:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            llama.llama_perf_context(ctx)
        before = list(decoded)
    return decoded, before == []


@returns(([0], [0]))
def test_a_callback_waits_for_no_other_decode(model: Any, ctx: Any) -> object:
    """Two decodes whose callbacks wait for each other would wait forever: it is refused, as any call was before."""
    other = context_of(model)
    seen: list[str] = []

    def read(data: object) -> bool:
        try:
            llama.llama_perf_context(ctx)
        except LlamaError as error:
            seen.append(str(error))
        return False

    with busy(ctx) as decoded:
        abort_with(other, read)
        result = decode(other)
    assert "in use by another thread" in seen[0]
    return decoded, [result]


@returns(([0, 0], [0]))
def test_the_abort_callback_is_set_and_cleared_during_a_decode(ctx: Any) -> object:
    results: list[int] = []
    with busy(ctx) as decoded:
        for callback in (llama.ggml_abort_callback(lambda data: False), llama.ggml_abort_callback(0), None):
            llama.llama_set_abort_callback(ctx, callback, None)
    results = [*decoded, decode(ctx)]
    return results, decoded


# ---------------------------------------------------------------- contexts of one model


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
