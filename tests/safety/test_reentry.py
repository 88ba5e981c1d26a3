"""Callbacks that call back into what is running: it is not freed, and not used, before the call has ended."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from ctypes import byref
from typing import Any

import pytest

from llamacffi import LlamaAssertionError, LlamaError, LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import raises, refused, returns
from support.objects import (
    abort_with,
    adapter_of,
    candidates,
    chain_of,
    context_of,
    decode,
    load,
    pool_of,
    use_adapter,
    user_sampler,
)

IN_USE = ".+ is in use by the call that runs this callback"

# ---------------------------------------------------------------- inside of a decode


@refused(LlamaError, rf"llama_decode\(\): ctx {IN_USE}")
def test_a_context_does_not_decode_inside_of_its_decode(ctx: Any) -> None:
    abort_with(ctx, lambda data: decode(ctx))
    decode(ctx)


@returns((0, {LlamaError}))
def test_a_decode_goes_on_after_one_inside_of_it_was_refused(ctx: Any) -> object:
    seen = set()

    def again(data: object) -> bool:
        try:
            decode(ctx)
        except Exception as error:
            seen.add(type(error))
        return False

    abort_with(ctx, again)
    return decode(ctx), seen


@refused(LlamaError, rf"llama_free\(\): ctx {IN_USE}")
def test_a_context_is_not_freed_inside_of_its_decode(ctx: Any) -> None:
    abort_with(ctx, lambda data: llama.llama_free(ctx))
    decode(ctx)


@refused(LlamaError, rf"llama_adapter_lora_free\(\): adapter {IN_USE}")
def test_an_adapter_is_not_freed_inside_of_a_decode_that_uses_it(model: Any, ctx: Any) -> None:
    adapter = adapter_of(model)
    use_adapter(ctx, adapter)
    abort_with(ctx, lambda data: llama.llama_adapter_lora_free(adapter))
    decode(ctx)


@refused(LlamaError, rf"llama_detach_threadpool\(\): ctx {IN_USE}")
def test_a_thread_pool_is_not_detached_inside_of_a_decode_that_uses_it(ctx: Any) -> None:
    with_a_pool(ctx, lambda pool: llama.llama_detach_threadpool(ctx))


@refused(LlamaValueError, r"ggml_threadpool_free\(\): threadpool .+ is attached to a context")
def test_a_thread_pool_is_not_freed_inside_of_a_decode_that_uses_it(ctx: Any) -> None:
    with_a_pool(ctx, llama.ggml_threadpool_free)


def with_a_pool(ctx: Any, function: Callable[[Any], object]) -> None:
    pool = pool_of(2)
    llama.llama_attach_threadpool(ctx, pool, None)
    llama.llama_set_n_threads(ctx, 2, 2)
    abort_with(ctx, lambda data: function(pool))
    decode(ctx)


@refused(LlamaError, rf"llama_model_free\(\): model {IN_USE}")
def test_a_model_is_not_freed_inside_of_a_log_message_of_its_context(model: Any) -> None:
    llama.llama_log_set(llama.llama_log_callback(lambda *given: llama.llama_model_free(model)), None)
    context_of(model)


# ---------------------------------------------------------------- inside of a sampler


@refused(LlamaError, rf"llama_sampler_free\(\): smpl {IN_USE}")
def test_a_chain_is_not_freed_inside_of_its_sampler() -> None:
    chain = chain_of(user_sampler(apply=lambda sampler, array: llama.llama_sampler_free(chain)))
    llama.llama_sampler_apply(chain, byref(candidates()))


@refused(LlamaError, rf"llama_sampler_free\(\): smpl {IN_USE}")
def test_a_sampler_is_not_freed_inside_of_itself() -> None:
    sampler = user_sampler(apply=lambda itself, array: llama.llama_sampler_free(sampler))
    llama.llama_sampler_apply(sampler, byref(candidates()))


@refused(LlamaError, rf"llama_free\(\): ctx {IN_USE}")
def test_a_context_is_not_freed_inside_of_a_sampler(ctx: Any) -> None:
    decode(ctx)
    chain = chain_of(user_sampler(apply=lambda sampler, array: llama.llama_free(ctx)))
    llama.llama_sampler_sample(chain, ctx, -1)


@refused(LlamaValueError, r"llama_sampler_free\(\): smpl .+ that llama_sampler_free\(\) has freed")
def test_a_chain_is_not_freed_again_inside_of_its_end() -> None:
    chain = chain_of(user_sampler(free=lambda sampler: llama.llama_sampler_free(chain)))
    llama.llama_sampler_free(chain)


@refused(LlamaAssertionError, r"llama_sampler_sample\(\): .+cur_p.selected")
def test_a_sampler_that_makes_the_array_longer_is_survived(ctx: Any) -> None:
    def grow(sampler: object, array: Any) -> None:
        array.contents.size = 10**7

    decode(ctx)
    llama.llama_sampler_sample(chain_of(user_sampler(apply=grow)), ctx, -1)


# ---------------------------------------------------------------- callbacks that are gone, raise, or are none


@returns(0)
def test_an_abort_callback_lives_on_after_its_name_is_gone(ctx: Any) -> int:
    abort_with(ctx, lambda data: False)
    gc.collect()
    return decode(ctx)


@returns(None)
def test_the_functions_of_a_sampler_live_on_after_their_names_are_gone() -> object:
    chain = chain_of(user_sampler())
    gc.collect()
    return llama.llama_sampler_apply(chain, byref(candidates()))


@raises(KeyError, "'NO_SUCH_VARIABLE'")
def test_an_exception_in_a_sampler_comes_out_of_the_call() -> None:
    sampler = user_sampler(apply=lambda sampler, array: os.environ["NO_SUCH_VARIABLE"])
    llama.llama_sampler_apply(sampler, byref(candidates()))


@raises(IndexError, "list index out of range")
def test_an_exception_in_a_load_s_progress_comes_out_of_the_load() -> None:
    load(progress_callback=llama.llama_progress_callback(lambda progress, data: [][0]))


@pytest.mark.parametrize("kind", ["callback", "function"])
@refused(TypeError, r"llama_set_abort_callback\(\): abort_callback .+ must be made with llama_cpp.ggml_abort_callback")
def test_a_callback_is_of_the_type_that_c_calls(kind: str, ctx: Any) -> None:
    def function(*given: object) -> bool:
        return False

    given = {"callback": llama.llama_log_callback(function), "function": function}
    llama.llama_set_abort_callback(ctx, given[kind], None)
