"""What goes with what: a freed model, context or chain takes along what belonged to it, and nothing is freed twice."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref
from typing import Any

import numpy as np
import pytest

from llamacffi import LlamaValueError, _native, ffi, lib
from llamacffi import llama_cpp as llama
from support.cells import refused, returns
from support.objects import adapter_of, chain_of, context_of, decode, floats, load, pool_of, use_adapter

# ---------------------------------------------------------------- models and contexts


@pytest.mark.parametrize("name", ["llama_model_free", "llama_free_model"])
@refused(LlamaValueError, lambda name: rf"llama_model_free\(\): model .+ that {name}\(\) has freed")
def test_a_model_is_not_freed_twice_by_any_name(name: str, model: Any) -> None:
    getattr(llama, name)(model)
    llama.llama_model_free(model)


@refused(LlamaValueError, r"llama_sampler_name\(\): smpl .+ that llama_sampler_free\(\) has freed")
def test_what_was_freed_is_known_after_thousands_of_others() -> None:
    """A sampler that the table does not know is trusted: the caller may have built it."""
    freed = llama.llama_sampler_init_greedy()
    llama.llama_sampler_free(freed)
    others = [llama.ggml_opt_result_init() for _ in range(10_000)]  # of a size that does not take its place
    assert ctypes.cast(freed, ctypes.c_void_p).value not in others
    llama.llama_sampler_name(freed)


@refused(LlamaValueError, r"llama_init_from_model\(\): model .+ has freed")
def test_a_freed_model_gets_no_context(model: Any) -> None:
    llama.llama_model_free(model)
    llama.llama_init_from_model(model, llama.llama_context_default_params())


@refused(LlamaValueError, r"llama_model_n_embd\(\): model .+ has freed")
def test_a_context_s_model_is_freed_by_whichever_way_it_is_got(model: Any, ctx: Any) -> None:
    llama.llama_model_free(model)
    llama.llama_model_n_embd(llama.llama_get_model(ctx))


@refused(LlamaValueError, r"llama_vocab_n_tokens\(\): vocab .+ is a llama_vocab that llama_model_free\(\) has freed")
def test_a_vocabulary_goes_with_its_model(model: Any, vocab: Any) -> None:
    llama.llama_model_free(model)
    llama.llama_vocab_n_tokens(vocab)


@refused(LlamaValueError, r"llama_memory_clear\(\): mem .+ is a llama_memory_i that llama_free\(\) has freed")
def test_a_memory_goes_with_its_context(ctx: Any) -> None:
    memory = llama.llama_get_memory(ctx)
    llama.llama_free(ctx)
    llama.llama_memory_clear(memory, True)


@returns([None, None, None])
def test_null_may_be_freed() -> object:
    return [free(None) for free in (llama.llama_free, llama.llama_model_free, llama.llama_sampler_free)]


@refused(LlamaValueError, r"llama_model_n_embd\(\): model .+ not an address that no call returned")
def test_an_address_in_the_middle_of_a_model_is_none(model: Any) -> None:
    llama.llama_model_n_embd(model + 8)


@refused(LlamaValueError, r"llama_batch_ext_free\(\): batch .+ that llama_batch_ext_free\(\) has freed")
def test_a_batch_ext_is_not_freed_twice(ctx: Any) -> None:
    batch = llama.llama_batch_ext_init(ctx)
    llama.llama_batch_ext_free(batch)
    llama.llama_batch_ext_free(batch)


# ---------------------------------------------------------------- adapters


@refused(LlamaValueError, r"llama_adapter_lora_free\(\): .+ llama_adapter_lora that llama_model_free\(\) has freed")
def test_an_adapter_goes_with_its_model(model: Any) -> None:
    adapter = adapter_of(model)
    llama.llama_model_free(model)
    llama.llama_adapter_lora_free(adapter)


@refused(LlamaValueError, r"llama_adapter_lora_free\(\): .+ that llama_adapter_lora_free\(\) has freed")
def test_an_adapter_is_not_freed_twice(model: Any) -> None:
    adapter = adapter_of(model)
    llama.llama_adapter_lora_free(adapter)
    llama.llama_adapter_lora_free(adapter)


@refused(LlamaValueError, r"llama_set_adapters_lora\(\): .+ holds at 0 an adapter of another model")
def test_an_adapter_of_another_model_is_not_used(ctx: Any) -> None:
    use_adapter(ctx, adapter_of(load()))


@refused(
    LlamaValueError, r"llama_set_adapters_lora\(\): adapters .+ at \[0\] a live llama_adapter_lora, not a freed one"
)
def test_a_freed_adapter_is_not_used(model: Any, ctx: Any) -> None:
    adapter = adapter_of(model)
    llama.llama_adapter_lora_free(adapter)
    use_adapter(ctx, adapter)


@returns(0)
def test_a_context_goes_on_after_its_adapter_was_freed(model: Any, ctx: Any) -> int:
    adapter = adapter_of(model)
    use_adapter(ctx, adapter)
    llama.llama_adapter_lora_free(adapter)
    return decode(ctx)


@returns(-1)
def test_a_cvec_is_not_shorter_than_its_width(ctx: Any) -> int:
    return int(llama.llama_set_adapter_cvec(ctx, floats(10), 10, 10**6, 0, 1))


@returns(0)
def test_a_cvec_for_layers_that_are_none_has_no_effect(ctx: Any) -> int:
    llama.llama_set_adapter_cvec(ctx, floats(3200), 3200, 32, -100, 2**31 - 1)
    return decode(ctx)


# ---------------------------------------------------------------- samplers

BELONGS = "smpl .+ belongs to a sampler chain"


@refused(LlamaValueError, r"llama_sampler_name\(\): smpl .+ that llama_sampler_free\(\) has freed")
def test_a_sampler_goes_with_its_chain() -> None:
    greedy = llama.llama_sampler_init_greedy()
    llama.llama_sampler_free(chain_of(greedy))
    llama.llama_sampler_name(greedy)


@refused(LlamaValueError, r"llama_sampler_chain_add\(\): smpl .+ the chain itself")
def test_a_chain_is_not_added_to_itself() -> None:
    chain = chain_of()
    llama.llama_sampler_chain_add(chain, chain)


@refused(LlamaValueError, r"llama_sampler_chain_add\(\): smpl .+ the chain itself, nor hold it")
def test_two_chains_are_not_added_to_each_other() -> None:
    one, two = chain_of(), chain_of()
    llama.llama_sampler_chain_add(one, two)
    llama.llama_sampler_chain_add(two, one)


@refused(LlamaValueError, rf"llama_sampler_chain_add\(\): {BELONGS}")
def test_a_sampler_is_not_added_to_two_chains() -> None:
    greedy = llama.llama_sampler_init_greedy()
    chain_of(greedy)
    chain_of(greedy)


@refused(LlamaValueError, rf"llama_sampler_chain_add\(\): {BELONGS}")
def test_a_sampler_is_not_added_twice_to_a_chain() -> None:
    greedy = llama.llama_sampler_init_greedy()
    chain_of(greedy, greedy)


@returns(0)
def test_a_sampler_that_was_taken_out_of_its_chain_is_the_caller_s_to_free() -> int:
    chain = chain_of(llama.llama_sampler_init_greedy())
    llama.llama_sampler_free(llama.llama_sampler_chain_remove(chain, 0))
    return int(llama.llama_sampler_chain_n(chain))


@refused(LlamaValueError, rf"llama_sampler_free\(\): {BELONGS}")
def test_a_sampler_that_a_chain_lends_is_not_freed() -> None:
    chain = chain_of(llama.llama_sampler_init_greedy())
    llama.llama_sampler_free(llama.llama_sampler_chain_get(chain, 0))


@refused(LlamaValueError, r"llama_sampler_free\(\): smpl .+ is attached to a context")
def test_a_sampler_that_a_context_uses_is_not_freed(ctx: Any) -> None:
    chain = chain_of(llama.llama_sampler_init_greedy())
    llama.llama_set_sampler(ctx, 0, chain)
    llama.llama_sampler_free(chain)


@refused(LlamaValueError, r"llama_sampler_free\(\): smpl .+ is attached to a context")
def test_a_sampler_that_a_context_s_params_named_is_not_freed(model: Any) -> None:
    chain = chain_of(llama.llama_sampler_init_greedy())
    config = (llama.llama_sampler_seq_config * 1)()
    config[0].seq_id, config[0].sampler = 0, chain
    context_of(model, samplers=config, n_samplers=1)
    llama.llama_sampler_free(chain)


@refused(LlamaValueError, r"llama_sampler_name\(\): smpl .+ not an address that no call returned")
def test_a_number_that_no_call_returned_is_no_sampler() -> None:
    llama.llama_sampler_name(8)


@refused(LlamaValueError, r"llama_sampler_name\(\): smpl .+ not a freed llama_model")
def test_a_freed_model_is_no_sampler() -> None:
    model = load()
    llama.llama_model_free(model)
    llama.llama_sampler_name(model)


@returns([b"own", b"own", b"own"])
def test_a_struct_of_the_caller_s_own_is_a_sampler() -> object:
    interface = llama.llama_sampler_i(name=llama.llama_sampler_i_name(lambda sampler: b"own"))
    own = llama.llama_sampler(ctypes.pointer(interface), None)
    return [llama.llama_sampler_name(one) for one in (own, byref(own), ctypes.pointer(own))]


# ---------------------------------------------------------------- thread pools


@refused(LlamaValueError, r"ggml_threadpool_free\(\): threadpool .+ is attached to a context")
def test_a_thread_pool_that_a_context_uses_is_not_freed(ctx: Any) -> None:
    pool = pool_of(1)
    llama.llama_attach_threadpool(ctx, pool, None)
    llama.ggml_threadpool_free(pool)


@returns(None)
def test_a_thread_pool_that_was_detached_is_the_caller_s_to_free(ctx: Any) -> object:
    pool = pool_of(1)
    llama.llama_attach_threadpool(ctx, pool, None)
    llama.llama_detach_threadpool(ctx)
    return llama.ggml_threadpool_free(pool)


# ---------------------------------------------------------------- by whichever way it is handed in

SAMPLER_WAYS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda sampler: sampler,
    "contents": lambda sampler: sampler.contents,
    "byref": lambda sampler: byref(sampler.contents),
    "c_void_p": lambda sampler: ctypes.cast(sampler, ctypes.c_void_p),
    "int": lambda sampler: ctypes.cast(sampler, ctypes.c_void_p).value,
    "cast": lambda sampler: ctypes.cast(sampler, ctypes.POINTER(llama.llama_sampler)),
    "cdata": lambda sampler: ffi.cast("struct llama_sampler *", ctypes.cast(sampler, ctypes.c_void_p).value),
}
CONTEXT_WAYS: dict[str, Callable[[Any], Any]] = {
    "c_void_p": ctypes.c_void_p,
    "cast": lambda ctx: ctypes.cast(ctx, llama.llama_context_p),
    "cdata": lambda ctx: ffi.cast("struct llama_context *", ctx),
    "numpy": lambda ctx: np.uint64(ctx).item(),
}


@pytest.mark.parametrize("way", SAMPLER_WAYS)
@refused(LlamaValueError, r"llama_sampler_name\(\): smpl .+ has freed")
def test_a_freed_sampler_is_known_in_every_form(way: str) -> None:
    sampler = llama.llama_sampler_init_top_k(3)
    seen = SAMPLER_WAYS[way](sampler)
    llama.llama_sampler_free(sampler)
    llama.llama_sampler_name(seen)


@pytest.mark.parametrize("way", CONTEXT_WAYS)
@refused(LlamaValueError, r"llama_n_ctx\(\): ctx .+ has freed")
def test_a_freed_context_is_known_in_every_form(way: str, ctx: Any) -> None:
    seen = CONTEXT_WAYS[way](ctx)
    llama.llama_free(ctx)
    llama.llama_n_ctx(seen)


@refused(LlamaValueError, r"llama_n_ctx\(\): ctx .+ has freed")
def test_a_freed_context_is_known_to_the_functions_of_lib(ctx: Any) -> None:
    llama.llama_free(ctx)
    lib.llama_n_ctx(ffi.cast("struct llama_context *", ctx))


class Index:
    """An integer that frees something when it is asked for its value."""

    def __init__(self, free: Callable[[Any], object], freed: Any) -> None:
        self.free, self.freed = free, freed

    def __index__(self) -> int:
        self.free(self.freed)
        return 0


@refused(LlamaValueError, r"llama_get_logits_ith\(\): ctx .+ has freed")
def test_a_context_that_a_later_argument_frees_is_not_used(ctx: Any) -> None:
    llama.llama_get_logits_ith(ctx, Index(llama.llama_free, ctx))


@refused(LlamaValueError, r"pieces\(\): vocab .+ has freed")
def test_a_vocabulary_that_the_tokens_free_is_not_used(model: Any, vocab: Any) -> None:
    """`llamacffi.arrays` gives an array; its function takes what C's functions take."""
    _native.pieces(vocab, ffi.typeof("struct llama_vocab *"), [Index(llama.llama_model_free, model)], False)


@refused(LlamaValueError, r"llama_sampler_accept\(\): smpl .+ has freed")
def test_a_sampler_that_a_later_argument_frees_is_not_used() -> None:
    sampler = llama.llama_sampler_init_greedy()
    llama.llama_sampler_accept(sampler, Index(llama.llama_sampler_free, sampler))
