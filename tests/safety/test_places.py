"""Handles inside of structs and arrays are asked for like arguments: they are alive, and of their kind."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from llamacffi import LlamaValueError, ffi, lib
from llamacffi import llama_cpp as llama
from support.cells import refused, returns
from support.objects import adapter_of, chain_of, context_of, decode, floats, load

WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a number": (lambda: 12345, "what is none"),
    "of another kind": (load, "what is none"),
    "freed": (lambda: freed_sampler(), "a freed one"),
}


def freed_sampler() -> Any:
    chain = chain_of()
    llama.llama_sampler_free(chain)
    return ctypes.cast(chain, ctypes.c_void_p).value


def config_of(*samplers: Any) -> Any:
    configs = (llama.llama_sampler_seq_config * len(samplers))()
    for index, sampler in enumerate(samplers):
        configs[index].seq_id = index
        configs[index].sampler = ctypes.cast(sampler, ctypes.POINTER(llama.llama_sampler))
    return configs


@pytest.mark.parametrize("wrong", WRONG)
@refused(
    LlamaValueError,
    lambda wrong: rf"llama_init_from_model\(\): params .+ at samplers\[1\] a live llama_sampler, not {WRONG[wrong][1]}",
)
def test_the_samplers_of_a_context_s_params_are_alive(wrong: str, model: Any) -> None:
    context_of(model, samplers=config_of(chain_of(), WRONG[wrong][0]()), n_samplers=2, n_seq_max=2)


@refused(LlamaValueError, r"llama_init_from_model\(\): params .+ at samplers\[0\] a live llama_sampler, not NULL")
def test_the_samplers_of_a_context_s_params_are_not_null(model: Any) -> None:
    context_of(model, samplers=(llama.llama_sampler_seq_config * 1)(), n_samplers=1)


DEVICES: dict[str, tuple[Callable[[], Any], str]] = {
    "a number": (lambda: 12345, "what is none"),
    "of another kind": (lambda: llama.ggml_backend_cpu_init(), "what is none"),
}


@pytest.mark.parametrize("wrong", DEVICES)
@refused(
    LlamaValueError,
    lambda wrong: rf"llama_model_load_from_file\(\): params .+ at devices\[1\] a live \w+, not {DEVICES[wrong][1]}",
)
def test_the_devices_of_a_model_s_params_are_devices(wrong: str) -> None:
    load(devices=devices(llama.ggml_backend_dev_get(0), DEVICES[wrong][0](), None))


@returns(0)
def test_a_device_that_the_registry_has_is_good() -> int:
    return decode(context_of(load(devices=devices(llama.ggml_backend_dev_get(0), None))))


def devices(*given: Any) -> Any:
    return (ctypes.c_void_p * len(given))(*given)


ARRAYS: dict[str, Callable[[Any], Any]] = {
    "ctypes": lambda adapter: devices(adapter, None),
    "cffi": lambda adapter: ffi.new(
        "struct llama_adapter_lora *[]", [ffi.cast("struct llama_adapter_lora *", adapter), ffi.NULL]
    ),
}


@pytest.mark.parametrize("kind", ARRAYS)
@refused(LlamaValueError, r"llama_set_adapters_lora\(\): adapters .+ at \[1\] a live llama_adapter_lora, not NULL")
def test_adapters_are_adapters_in_ctypes_and_in_cffi(kind: str, model: Any, ctx: Any) -> None:
    llama.llama_set_adapters_lora(ctx, ARRAYS[kind](adapter_of(model)), 2, floats(2))


@refused(LlamaValueError, r"llama_init_from_model\(\): params .+ at ctx_other a live llama_context, not what is none")
def test_fields_of_cdata_are_asked_for_too(model: Any) -> None:
    params = lib.llama_context_default_params()
    holder = ffi.from_buffer("struct llama_context_params *", params)
    holder.ctx_other = ffi.cast("struct llama_context *", model)
    lib.llama_init_from_model(ffi.cast("struct llama_model *", model), holder[0])


# ---------------------------------------------------------------- what a struct hands out


def copied_graph() -> Any:
    """Copy a graph of one operation to the CPU, which makes two contexts and a buffer."""
    ctx = llama.ggml_init(llama.ggml_init_params(100_000, None, True))
    graph = llama.ggml_new_graph(ctx)
    llama.ggml_build_forward_expand(graph, llama.ggml_sqr(ctx, llama.ggml_new_tensor_1d(ctx, llama.GGML_TYPE_F32, 8)))
    cpu = llama.ggml_backend_cpu_init()
    llama.ggml_backend_alloc_ctx_tensors(ctx, cpu)
    return llama.ggml_backend_graph_copy(cpu, graph)


@returns(64)
def test_the_buffer_of_a_copied_graph_is_alive() -> object:
    """Two tensors of eight floats: C's own alignment makes no more of them."""
    copy = copied_graph()
    assert llama.ggml_used_mem(copy.ctx_allocated) > llama.ggml_used_mem(copy.ctx_unallocated)
    return llama.ggml_backend_buffer_get_size(copy.buffer)


@refused(LlamaValueError, r"ggml_used_mem\(\): ctx .+ that ggml_backend_graph_copy_free\(\) has freed")
def test_a_copied_graph_takes_its_contexts_along() -> None:
    copy = copied_graph()
    llama.ggml_backend_graph_copy_free(copy)
    llama.ggml_used_mem(copy.ctx_allocated)


@refused(LlamaValueError, r"ggml_backend_graph_copy_free\(\): copy .+ at buffer a live \w+, not a freed")
def test_a_copied_graph_is_freed_once() -> None:
    copy = copied_graph()
    llama.ggml_backend_graph_copy_free(copy)
    llama.ggml_backend_graph_copy_free(copy)
