"""The interpreter ends well whatever is alive: objects, daemon threads in C, __del__ methods, callbacks.

Each test leaves something behind in a process of its own, which ends then.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import llamacffi
from llamacffi import LlamaError
from llamacffi import llama_cpp as llama
from support.cells import alone, ends_with, returns
from support.compute_threads import most_threads
from support.objects import (
    abort_with,
    adapter_of,
    batch_of_one,
    chain_of,
    context_of,
    decode,
    load,
    pool_of,
    use_adapter,
    user_sampler,
)

pytestmark = alone
three_times = pytest.mark.parametrize("turn", range(3))  # what races may come out well once

kept: list[object] = []  # what lives until this module goes


def keep_at_it(function: Callable[[], object]) -> None:
    """Let a daemon thread call a function without end, and return when it has begun to."""
    begun = threading.Event()

    def work() -> None:
        while True:
            with contextlib.suppress(LlamaError):
                function()
            begun.set()

    threading.Thread(target=work, daemon=True).start()
    assert begun.wait(20)


def decode_again(ctx: Any) -> None:
    llama.llama_memory_clear(llama.llama_get_memory(ctx), True)
    decode(ctx)


# ---------------------------------------------------------------- what is alive


@returns(None)
def test_live_objects(ctx: Any) -> None:
    decode(ctx)
    kept.append(chain_of(llama.llama_sampler_init_greedy()))


@returns(None)
def test_the_pools_of_contexts_that_computed(model: Any) -> None:
    for n_threads in (2, 3):
        decode(context_with(n_threads, model))


def context_with(n_threads: int, model: Any) -> Any:
    with most_threads(n_threads):
        return context_of(model, n_threads=n_threads, n_threads_batch=2)


@returns(None)
def test_every_kind_of_object_alive(model: Any, ctx: Any) -> None:
    adapter, pool = adapter_of(model), pool_of(2)
    use_adapter(ctx, adapter)
    llama.llama_attach_threadpool(ctx, pool, None)
    kept.extend([batch_of_one(), llama.llama_batch_ext_init(ctx), adapter, pool, llama.gguf_init_empty()])


@returns(None)
def test_a_freed_model_whose_context_lives(model: Any) -> None:
    llama.llama_model_free(model)


@returns(None)
def test_a_callback_for_logs() -> None:
    llama.llama_log_set(llama.llama_log_callback(lambda *given: None), None)


@returns(None)
def test_a_callback_in_a_context(ctx: Any) -> None:
    abort_with(ctx, lambda data: False)


@returns(None)
def test_a_sampler_of_the_user_s() -> None:
    kept.append(chain_of(user_sampler(free=print)))


# ---------------------------------------------------------------- what is called while the interpreter ends


@returns(None)
def test_del_methods_that_free() -> None:
    class Owner:
        other: Owner

        def __init__(self) -> None:
            self.model = load()
            self.context = context_of(self.model)

        def __del__(self) -> None:
            llama.llama_model_free(self.model)
            llama.llama_free(self.context)

    one, two = Owner(), Owner()
    one.other, two.other = two, one
    sys.modules["kept"] = one  # type: ignore[assignment]


@returns(None)
def test_del_methods_that_decode(ctx: Any) -> None:
    class User:
        def __del__(self) -> None:
            decode(ctx)

    vars(builtins)["kept"] = User()
    kept.append(User())


@returns(None)
def test_a_function_at_exit(model: Any, ctx: Any) -> None:
    atexit.register(lambda: (decode(ctx), llama.llama_free(ctx), llama.llama_model_free(model)))


# ---------------------------------------------------------------- daemon threads


@three_times
@returns(None)
def test_a_daemon_thread_that_decodes(turn: int, ctx: Any) -> None:
    keep_at_it(lambda: decode_again(ctx))


@three_times
@returns(None)
def test_a_daemon_thread_that_waits_for_one_that_decodes(turn: int, ctx: Any) -> None:
    keep_at_it(lambda: decode_again(ctx))
    keep_at_it(lambda: llama.llama_perf_context(ctx))


@three_times
@returns(None)
def test_daemon_threads_that_decode_in_contexts_of_one_model(turn: int, model: Any) -> None:
    for _ in range(3):
        context = context_of(model)
        keep_at_it(lambda context=context: decode_again(context))  # type: ignore[misc]


@three_times
@returns(None)
def test_daemon_threads_that_compute_with_pools(turn: int, model: Any) -> None:
    for n_threads in (2, 3):
        context = context_with(n_threads, model)
        keep_at_it(lambda context=context: decode_again(context))  # type: ignore[misc]


@three_times
@returns(None)
def test_a_daemon_thread_that_computes_with_a_pool_of_the_user_s(turn: int, model: Any) -> None:
    context = context_with(2, model)
    llama.llama_attach_threadpool(context, pool_of(2), None)
    keep_at_it(lambda: decode_again(context))


@three_times
@returns(None)
def test_a_daemon_thread_inside_of_a_decode(turn: int, model: Any) -> None:
    """It is inside when the interpreter ends, and its pool's workers wait for it."""
    context, inside = context_with(3, model), threading.Event()

    def stay(data: object) -> bool:
        inside.set()
        time.sleep(60)  # nothing is to wake it
        return False

    abort_with(context, stay)
    threading.Thread(target=decode, args=(context,), daemon=True).start()
    assert inside.wait(20)


@three_times
@returns(None)
def test_a_daemon_thread_whose_model_was_freed(turn: int, model: Any, ctx: Any) -> None:
    keep_at_it(lambda: decode_again(ctx))
    llama.llama_model_free(model)


@three_times
@returns(None)
def test_a_daemon_thread_with_an_abort_callback(turn: int, ctx: Any) -> None:
    abort_with(ctx, lambda data: False)
    keep_at_it(lambda: decode_again(ctx))


@three_times
@returns(None)
def test_a_daemon_thread_with_a_sampler_of_the_user_s(turn: int, ctx: Any) -> None:
    decode(ctx)
    chain = chain_of(user_sampler(apply=lambda sampler, array: time.sleep(0.001)))  # mostly it is in there
    keep_at_it(lambda: llama.llama_sampler_sample(chain, ctx, -1))


@three_times
@returns(None)
def test_a_daemon_thread_that_loads_with_a_progress_callback(turn: int) -> None:
    callback = llama.llama_progress_callback(lambda progress, data: True)
    keep_at_it(lambda: llama.llama_model_free(load(progress_callback=callback)))


@three_times
@returns(None)
def test_a_daemon_thread_and_a_del_that_frees_its_context(turn: int, ctx: Any) -> None:
    class Owner:
        def __del__(self) -> None:
            with contextlib.suppress(LlamaError):
                llama.llama_free(ctx)

    kept.append(Owner())
    keep_at_it(lambda: decode_again(ctx))


@three_times
@returns(None)
def test_daemon_threads_that_log_to_python(turn: int) -> None:
    llamacffi.log_to("quiet")
    for _ in range(3):
        keep_at_it(lambda: llama.llama_model_free(load()))


@three_times
@ends_with(3)
def test_an_exit_status_is_kept(turn: int, ctx: Any) -> None:
    keep_at_it(lambda: decode_again(ctx))
    raise SystemExit(3)


@three_times
@ends_with(3)
def test_an_exit_status_is_kept_where_pools_live_and_compute(turn: int, model: Any) -> None:
    decode(context_with(3, model))
    context = context_with(2, model)
    keep_at_it(lambda: decode_again(context))
    raise SystemExit(3)
