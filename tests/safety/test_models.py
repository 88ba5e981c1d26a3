"""Files, parameters and types that make no model; metadata that a model has not; quantizing what cannot be."""

from __future__ import annotations

import os
from ctypes import byref
from pathlib import Path
from typing import Any

import pytest

from llamacffi import LlamaAssertionError, LlamaValueError
from llamacffi import llama_cpp as llama
from support import gguf_files
from support.cells import refused, returns
from support.objects import context_of, decode, load

OUT_OF_RANGE = (-1, 10**6, -(2**31))

# ---------------------------------------------------------------- metadata


@returns([-1, -1, -1])
def test_a_key_of_the_metadata_out_of_range_is_none(model: Any) -> object:
    return [llama.llama_model_meta_key_by_index(model, index, bytearray(8), 8) for index in OUT_OF_RANGE]


@returns([-1, -1, -1])
def test_a_value_of_the_metadata_out_of_range_is_none(model: Any) -> object:
    return [llama.llama_model_meta_val_str_by_index(model, index, bytearray(8), 8) for index in OUT_OF_RANGE]


@returns(None)
def test_a_class_out_of_range_has_no_label(model: Any) -> object:
    return llama.llama_model_cls_label(model, 10**6)


@returns(None)
def test_a_key_that_is_none_has_no_name() -> object:
    return llama.llama_model_meta_key_str(9999)


@refused(LlamaValueError, r"ggml_type_size\(\): type .+ no value 9999")
def test_a_type_that_ggml_has_not_has_no_size() -> None:
    llama.ggml_type_size(9999)


@refused(LlamaValueError, r"ggml_op_name\(\): op \(enum ggml_op\) .+ no value 9999")
def test_an_operation_that_ggml_has_not_has_no_name() -> None:
    llama.ggml_op_name(9999)


@refused(LlamaValueError, r"llama_flash_attn_type_name\(\): flash_attn_type .+ has no value 99")
def test_a_flash_attention_that_is_none_has_no_name() -> None:
    llama.llama_flash_attn_type_name(99)


@refused(LlamaAssertionError, r"gguf_get_key\(\): .+key_id < gguf_get_n_kv")
def test_a_key_of_an_empty_gguf_is_none() -> None:
    llama.gguf_get_key(llama.gguf_init_empty(), 5)


# ---------------------------------------------------------------- loading


@refused(LlamaValueError, r"llama_model_load_from_file_ptr\(\): file .+ must be a live FILE, not a llama_model")
def test_a_model_is_no_open_file(model: Any) -> None:
    llama.llama_model_load_from_file_ptr(model, llama.llama_model_default_params())


@refused(LlamaValueError, r"llama_model_init_from_user\(\): set_tensor_data .+ must not be NULL")
def test_a_model_of_the_caller_s_has_tensors_of_the_caller_s() -> None:
    llama.llama_model_init_from_user(llama.gguf_init_empty(), None, None, llama.llama_model_default_params())


@refused(LlamaAssertionError, r"llama_decode\(\): .+n_backends > 0")
def test_a_model_without_tensors_does_not_decode() -> None:
    decode(context_of(load(vocab_only=True)))


@refused(LlamaValueError, r"llama_opt_init\(\): lopt_params.param_filter .+ must not be NULL")
def test_a_model_is_not_trained_without_callbacks(model: Any, ctx: Any) -> None:
    llama.llama_opt_init(ctx, model, llama.llama_opt_params())


# ---------------------------------------------------------------- quantizing


def quantize(source: bytes, target: Path, **fields: Any) -> None:
    params = llama.llama_model_quantize_default_params()
    for name, value in fields.items():
        setattr(params, name, value)
    llama.llama_model_quantize(source, os.fsencode(target), byref(params))


@refused(LlamaValueError, r"llama_model_quantize\(\): params .+ must not be NULL")
def test_a_model_is_not_quantized_without_params(folder: Path) -> None:
    llama.llama_model_quantize(str(gguf_files.shared()), str(folder / "quantized"), None)


@refused(LlamaValueError, r"llama_model_quantize\(\): fname_inp and fname_out must not be empty")
def test_a_file_without_a_name_is_not_quantized(folder: Path) -> None:
    quantize(b"", folder / "quantized")


@refused(LlamaValueError, r"llama_model_quantize\(\): fname_out is the file that is read")
def test_a_file_is_not_quantized_onto_itself(folder: Path) -> None:
    copy = gguf_files.write_model(folder / "model.gguf")
    quantize(os.fsencode(copy), copy)


@pytest.mark.parametrize("field", ["token_embedding_type", "output_tensor_type"])
@refused(
    LlamaValueError, lambda field: rf"llama_model_quantize\(\): params.{field} \(enum ggml_type\) has no value -999"
)
def test_a_model_is_not_quantized_to_a_type_that_is_none(field: str, folder: Path) -> None:
    quantize(os.fsencode(gguf_files.shared()), folder / "quantized", **{field: -999})
