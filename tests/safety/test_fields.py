"""Enums, numbers and pointers in the structs that C reads; and models that were loaded without their weights."""

from __future__ import annotations

import os
from ctypes import byref, c_size_t
from pathlib import Path
from typing import Any

import pytest

from llamacffi import LlamaValueError
from llamacffi import llama_cpp as llama
from support import gguf_files
from support.cells import refused, returns
from support.objects import context_of, ints, load


def no_value(struct: str, field: str, value: int) -> str:
    return rf"{struct}\.{field} \(enum \w+\) has no value {value}"


# ---------------------------------------------------------------- enums


@pytest.mark.parametrize("value", [99, -7])
@pytest.mark.parametrize("field", ["split_mode", "load_mode", "lazy_mode"])
@refused(LlamaValueError, lambda field, value: rf"llama_model_load_from_file\(\): {no_value('params', field, value)}")
def test_an_enum_of_a_model_s_params_is_one_that_the_header_names(field: str, value: int) -> None:
    load(None, **{field: value})


@pytest.mark.parametrize("value", [4, 31, 38])
@pytest.mark.parametrize("field", ["output_tensor_type", "token_embedding_type"])
@refused(LlamaValueError, lambda field, value: rf"llama_model_quantize\(\): {no_value('params', field, value)}")
def test_a_model_is_not_quantized_to_a_type_that_was_removed(field: str, value: int, folder: Path) -> None:
    params = llama.llama_model_quantize_default_params()
    setattr(params, field, value)
    llama.llama_model_quantize(os.fsencode(gguf_files.shared()), os.fsencode(folder / "q"), byref(params))


@refused(
    LlamaValueError, r"llama_model_quantize\(\): params\.tt_overrides\[1\]\.type \(enum ggml_type\) has no value 4"
)
def test_a_tensor_is_not_quantized_to_a_type_that_was_removed(folder: Path) -> None:
    overrides = (llama.llama_model_tensor_override * 3)((b"a", 2), (b"b", 4), (None, 0))
    params = llama.llama_model_quantize_default_params()
    params.tt_overrides = overrides
    llama.llama_model_quantize(os.fsencode(gguf_files.shared()), os.fsencode(folder / "q"), byref(params))


@pytest.mark.parametrize("value", [99, -7])
@refused(LlamaValueError, lambda value: rf"ggml_threadpool_new\(\): {no_value('params', 'prio', value)}")
def test_a_priority_of_threads_is_one_that_the_header_names(value: int) -> None:
    params = llama.ggml_threadpool_params_default(1)
    params.prio = value
    llama.ggml_threadpool_new(byref(params))


# ---------------------------------------------------------------- numbers and pointers


@pytest.mark.parametrize(("field", "value"), [("n_threads", 0), ("n_threads", 513), ("poll", 101), ("poll", 2**32 - 1)])
@refused(LlamaValueError, lambda field, value: rf"ggml_threadpool_new\(\): params\.{field} .+ must be from \d+ to \d+")
def test_a_pool_is_of_numbers_that_threads_can_have(field: str, value: int) -> None:
    params = llama.ggml_threadpool_params_default(1)
    setattr(params, field, value)
    llama.ggml_threadpool_new(byref(params))


@refused(LlamaValueError, r"llama_model_quantize\(\): params\.nthread .+ must be from -2147483648 to 512, not 1000")
def test_quantizing_takes_no_more_threads_than_ggml(folder: Path) -> None:
    params = llama.llama_model_quantize_default_params()
    params.nthread = 1000
    llama.llama_model_quantize(os.fsencode(gguf_files.shared()), os.fsencode(folder / "q"), byref(params))


@refused(LlamaValueError, r"ggml_opt_init\(\): params\.backend_sched .+ must not be NULL")
def test_training_needs_a_scheduler() -> None:
    params = llama.ggml_opt_params()
    params.opt_period = 1
    llama.ggml_opt_init(params)


# ---------------------------------------------------------------- models without weights

WITHOUT = r"\(\): \w+ \(struct llama_context \*\) has a model that was loaded with no_alloc, and so without weights"
BATCH = "llama_decode", "llama_encode"
STATES = "llama_state_set_data", "llama_set_state_data"


def measured() -> Any:
    """Make a context of a model without weights."""
    return context_of(load(no_alloc=True, load_mode=llama.LLAMA_LOAD_MODE_NONE))


@pytest.mark.parametrize("function", BATCH)
@refused(LlamaValueError, lambda function: function + WITHOUT)
def test_a_model_without_weights_computes_nothing(function: str) -> None:
    getattr(llama, function)(measured(), llama.llama_batch_get_one(ints(5), 1))


@refused(LlamaValueError, "llama_process" + WITHOUT)
def test_a_model_without_weights_processes_nothing() -> None:
    ctx = measured()
    llama.llama_process(ctx, llama.LLAMA_PROCESS_TYPE_DECODE, llama.llama_batch_ext_init(ctx))


@pytest.mark.parametrize("function", STATES)
@refused(LlamaValueError, lambda function: function + WITHOUT)
def test_a_model_without_weights_takes_no_state(function: str) -> None:
    given = (bytes(64), 64) if function == "llama_state_set_data" else (bytes(64),)
    getattr(llama, function)(measured(), *given)


@refused(LlamaValueError, "llama_state_load_file" + WITHOUT)
def test_a_model_without_weights_loads_no_session() -> None:
    llama.llama_state_load_file(measured(), b"/nonexistent", ints(0), 1, byref(c_size_t()))


@returns([256, True, None])
def test_a_model_without_weights_is_measured_and_freed() -> object:
    ctx = measured()
    return [llama.llama_n_ctx(ctx), llama.llama_state_get_size(ctx) > 0, llama.llama_free(ctx)]
