"""Files, parameters and types that make no model; metadata that a model has not; quantizing what cannot be."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import os
import shutil
import stat
from ctypes import byref
from pathlib import Path
from typing import Any

import gguf
import pytest

from llamacffi import LlamaAssertionError, LlamaError, LlamaValueError, ffi, lib
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


def quantize(source: bytes, target: Path, **fields: Any) -> int:
    params = llama.llama_model_quantize_default_params()
    for name, value in fields.items():
        setattr(params, name, value)
    return int(llama.llama_model_quantize(source, os.fsencode(target), byref(params)))


@refused(LlamaValueError, r"llama_model_quantize\(\): params .+ must not be NULL")
def test_a_model_is_not_quantized_without_params(folder: Path) -> None:
    llama.llama_model_quantize(str(gguf_files.shared()), str(folder / "quantized"), None)


@refused(LlamaValueError, r"llama_model_quantize\(\): fname_inp and fname_out must not be empty")
def test_a_file_without_a_name_is_not_quantize(folder: Path) -> None:
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


OLD = b"what stood there before"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@returns((0, OLD, ["out", "out.part"]))
def test_a_file_of_the_users_own_beside_the_output_is_unharmed(folder: Path) -> object:
    (folder / "out.part").write_bytes(OLD)
    status = quantize(os.fsencode(gguf_files.shared()), folder / "out")
    return status, (folder / "out.part").read_bytes(), names_in(folder)


@returns((OLD, ["out"]))
def test_a_quantization_that_fails_leaves_what_was_there(folder: Path) -> object:
    (folder / "out").write_bytes(OLD)
    with contextlib.suppress(LlamaError):
        assert quantize(b"/nonexistent/model.gguf", folder / "out") != 0
    return (folder / "out").read_bytes(), names_in(folder)


@refused(LlamaError, r"llama_model_quantize\(\): .+/missing/out was not written: No such file or directory")
def test_a_model_is_not_quantized_into_a_folder_that_is_not_there(folder: Path) -> None:
    quantize(os.fsencode(gguf_files.shared()), folder / "missing" / "out")


@returns(([0, 0], ["out"], True))
def test_two_quantizations_into_one_output_leave_one_whole_file(folder: Path) -> object:
    source = os.fsencode(gguf_files.shared())
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: quantize(source, folder / "out"), range(2)))
    return done, names_in(folder), load(folder / "out") is not None


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
@returns(True)
def test_a_quantized_file_has_the_mode_that_the_umask_leaves(mask: int, folder: Path) -> bool:
    before = os.umask(mask)
    try:
        quantize(os.fsencode(gguf_files.shared()), folder / "out")
    finally:
        os.umask(before)
    return stat.S_IMODE((folder / "out").stat().st_mode) == 0o666 & ~mask


@returns(0o640)
def test_a_quantized_file_keeps_the_mode_of_the_one_that_it_replaces(folder: Path) -> int:
    (folder / "out").write_bytes(OLD)
    (folder / "out").chmod(0o640)
    quantize(os.fsencode(gguf_files.shared()), folder / "out")
    return stat.S_IMODE((folder / "out").stat().st_mode)


# ---------------------------------------------------------------- types that the CPU has no function for


@refused(LlamaAssertionError, r"llama_decode\(\): .+ the CPU cannot compute MUL_MAT with type i32")
def test_weights_of_whole_numbers_are_not_multiplied_with(folder: Path) -> None:
    path = Path(shutil.copy(gguf_files.shared(), folder / "whole.gguf"))
    reader = gguf.GGUFReader(path, "r+")
    (output,) = (tensor for tensor in reader.tensors if tensor.name == "output.weight")
    output.field.parts[4][0] = gguf.GGMLQuantizationType.I32
    reader.data.flush()
    decode(context_of(load(path)))


@refused(
    LlamaValueError, r"llama_model_load_from_file\(\): params.split_mode .+ takes GPUs alone, and devices\[0\] is CPU"
)
def test_tensors_are_not_split_among_cpus() -> None:
    cpu = llama.ggml_backend_dev_by_type(llama.GGML_BACKEND_DEVICE_TYPE_CPU)
    load(devices=(ctypes.c_void_p * 2)(cpu, None), split_mode=llama.LLAMA_SPLIT_MODE_TENSOR)


@pytest.mark.parametrize(("count", "found"), [(0, "none"), (1, "CPU")])
@refused(LlamaValueError, lambda count, found: rf"ggml_backend_meta_device\(\): devs .+ must be of GPUs.* has {found}")
def test_nor_is_a_device_made_of_cpus_that_would(count: int, found: str) -> None:
    cpu = llama.ggml_backend_dev_by_type(llama.GGML_BACKEND_DEVICE_TYPE_CPU)
    function = ffi.addressof(lib, "ggml_backend_meta_split_axis_name")  # any one: it is not called
    split = ffi.cast("ggml_backend_meta_get_split_state_t", function)
    llama.ggml_backend_meta_device((ctypes.c_void_p * 1)(cpu), count, split, None)
