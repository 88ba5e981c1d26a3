"""What only a formula of the policy tells: lengths, limits and memory, each one too much, and each one just enough."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamacffi import LlamaAssertionError, LlamaValueError, ffi
from llamacffi import llama_cpp as llama
from support import gguf_files
from support.cells import raises, refused, returns
from support.objects import floats, ints, load

Q4_0, BLOCK, BLOCK_BYTES = 2, 32, 18  # the format of a block: two bytes of a scale, and 32 times four bits


def quantize(room: int, rows: int = 1, a_row: int = BLOCK, start: int = 0, source: int = BLOCK) -> int:
    return int(llama.ggml_quantize_chunk(Q4_0, floats(source), bytearray(room), start, rows, a_row, None))


# ---------------------------------------------------------------- lengths


@returns(BLOCK_BYTES)
def test_a_row_is_quantized_into_a_buffer_of_its_size() -> int:
    return quantize(BLOCK_BYTES)


@refused(LlamaValueError, r"ggml_quantize_chunk\(\): dst .+ holds 17, where C may read or write 18 items")
def test_a_row_is_not_quantized_into_less() -> None:
    quantize(BLOCK_BYTES - 1)


@refused(LlamaValueError, r"ggml_quantize_chunk\(\): src .+ holds 32, where C may read or write 64 items")
def test_rows_are_not_read_beyond_the_numbers() -> None:
    quantize(2 * BLOCK_BYTES, rows=2)


@refused(LlamaValueError, r"ggml_quantize_chunk\(\): dst .+ holds 18, where C may read or write 36 items")
def test_a_row_behind_others_is_written_behind_them() -> None:
    quantize(BLOCK_BYTES, start=BLOCK, source=2 * BLOCK)


@pytest.mark.parametrize("rows", [2**62, 2**63 - 1])
@refused(
    LlamaValueError, r"ggml_quantize_chunk\(\): src .+ holds 32, where C may read or write 9223372036854775807 items"
)
def test_a_product_that_no_integer_holds_is_too_much(rows: int) -> None:
    quantize(BLOCK_BYTES, rows=rows, a_row=2**62)


@refused(LlamaValueError, r"ggml_quantize_chunk\(\): n_per_row .+ must be at least 1, not 0")
def test_a_row_of_nothing_is_not_divided_by() -> None:
    quantize(BLOCK_BYTES, a_row=0)


@refused(LlamaValueError, r"gguf_get_meta_data\(\): data .+ holds 23, where C may read or write \d+ items")
def test_metadata_is_not_copied_to_less_than_its_size() -> None:
    llama.gguf_get_meta_data(llama.gguf_init_empty(), bytearray(23))


@returns(b"GGUF")
def test_metadata_is_copied_to_a_buffer_of_its_size() -> bytes:
    gguf = llama.gguf_init_empty()
    data = bytearray(llama.gguf_get_meta_size(gguf))
    llama.gguf_get_meta_data(gguf, data)
    return bytes(data[:4])


@pytest.mark.parametrize("type_", [0, 3, 6, 12])
@refused(LlamaValueError, r"gguf_set_arr_data\(\): data .+ holds 7, where C may read or write \d+ items")
def test_an_array_is_no_longer_than_its_data(type_: int) -> None:
    llama.gguf_set_arr_data(llama.gguf_init_empty(), b"key", type_, bytes(7), 8)


@refused(LlamaValueError, r"gguf_set_kv\(\): src .+ must be another one than ctx")
def test_a_gguf_context_does_not_take_its_own_values() -> None:
    gguf = llama.gguf_init_empty()
    llama.gguf_set_val_str(gguf, b"key", b"text")
    llama.gguf_set_kv(gguf, gguf)


@pytest.mark.parametrize("type_", [8, 9])
@refused(LlamaValueError, r"gguf_set_arr_data\(\): type must be a type of numbers")
def test_an_array_of_numbers_has_a_type_of_numbers(type_: int) -> None:
    llama.gguf_set_arr_data(llama.gguf_init_empty(), b"key", type_, bytes(8), 1)


def gguf_with_tensor() -> Any:
    """Make a gguf context that has one tensor of ten floats, `t`."""
    arena = llama.ggml_init(llama.ggml_init_params(4096, None, True))
    tensor = llama.ggml_new_tensor_1d(arena, 0, 10)
    llama.ggml_set_name(tensor, b"t")
    gguf = llama.gguf_init_empty()
    llama.gguf_add_tensor(gguf, tensor)
    return gguf


@returns(40)
def test_a_tensor_s_data_has_its_size() -> int:
    gguf = gguf_with_tensor()
    llama.gguf_set_tensor_data(gguf, b"t", floats(10))
    return int(llama.gguf_get_tensor_size(gguf, 0))


@refused(LlamaValueError, r"gguf_set_tensor_data\(\): data .+ holds 36, where C may read or write 40 items")
def test_a_tensor_s_data_is_not_shorter() -> None:
    llama.gguf_set_tensor_data(gguf_with_tensor(), b"t", floats(9))


@refused(LlamaAssertionError, r"gguf_set_tensor_data\(\): .+tensor not found: u")
def test_data_is_of_a_tensor_that_is_there() -> None:
    llama.gguf_set_tensor_data(gguf_with_tensor(), b"u", floats(10))


@refused(LlamaValueError, r"gguf_init_from_buffer\(\): data .+ holds 4, where C may read or write 5 items")
def test_a_file_in_memory_is_no_longer_than_its_memory() -> None:
    llama.gguf_init_from_buffer(b"GGUF", 5, llama.gguf_init_params())


@refused(LlamaValueError, r"ggml_opt_dataset_get_batch_host\(\): labels_batch .+ holds 7, where C .+ 8 items")
def test_labels_are_as_many_as_the_data() -> None:
    dataset = llama.ggml_opt_dataset_init(0, 0, 4, 1, 8, 2)
    llama.ggml_opt_dataset_get_batch_host(dataset, bytearray(32), 32, bytearray(7), 0)


@refused(LlamaValueError, r"ggml_opt_dataset_get_batch_host\(\): ibatch .+ must be from 0 to 8, not -1")
def test_a_batch_of_data_is_one_of_the_dataset() -> None:
    dataset = llama.ggml_opt_dataset_init(0, 0, 4, 1, 8, 2)
    llama.ggml_opt_dataset_get_batch_host(dataset, bytearray(32), 32, bytearray(8), -1)


@refused(LlamaValueError, r"ggml_rope_yarn_corr_dims\(\): dims .+ holds 1, where C may read or write 2 items")
def test_two_numbers_have_room_for_two() -> None:
    llama.ggml_rope_yarn_corr_dims(64, 2048, 1e4, 32.0, 1.0, floats(1))


@refused(LlamaValueError, r"ggml_guid_matches\(\): guid_a .+ is NULL, where C reads or writes 16 items")
def test_a_guid_is_there() -> None:
    llama.ggml_guid_matches(None, None)


# ---------------------------------------------------------------- the size of what comes


@pytest.mark.parametrize("offset", [-1, -(2**40), 4, 2**40])
@raises(LlamaValueError, r"gguf_get_meta_data\(\): data \(void \*\) is byref\(…, -?\d+\) of an object of 4 bytes")
def test_a_reference_stays_inside_of_its_object(offset: int) -> None:
    llama.gguf_get_meta_data(llama.gguf_init_empty(), ctypes.byref(ctypes.c_int(), offset))


SMALL: dict[str, Callable[[], Any]] = {
    "struct": lambda: llama.llama_logit_bias(),
    "number by reference": lambda: ctypes.byref(ctypes.c_int64()),
    "array in a struct": lambda: array_in_struct().memory,
    "contents of a pointer": lambda: ctypes.pointer(llama.llama_logit_bias()).contents,
    "slice": lambda: memoryview(bytearray(100))[10:18],
    "cdata that owns an item": lambda: ffi.new("int64_t *"),
    "cdata array": lambda: ffi.new("char[8]"),
    "cdata of a buffer": lambda: ffi.from_buffer(bytearray(8)),
}


def array_in_struct() -> Any:
    fields = [("before", ctypes.c_int64), ("memory", ctypes.c_uint8 * 8), ("behind", ctypes.c_char * 64)]
    return type("Holder", (ctypes.Structure,), {"_fields_": fields})()


@pytest.mark.parametrize("kind", SMALL)
@refused(LlamaValueError, r"gguf_get_meta_data\(\): data .+ holds 8, where C may read or write 32 items")
def test_eight_bytes_are_eight_bytes_however_they_come(kind: str) -> None:
    llama.gguf_get_meta_data(llama.gguf_init_empty(), SMALL[kind]())


# ---------------------------------------------------------------- limits and memory


@pytest.mark.parametrize("token", [-1, 10**6, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("function", ["get_text", "get_score", "get_attr", "is_control"])
@refused(
    LlamaValueError, lambda function, token: rf"llama_vocab_{function}\(\): token .+ must be from 0 to \d+, not {token}"
)
def test_a_token_is_one_of_the_vocabulary(function: str, token: int, vocab: Any) -> None:
    getattr(llama, f"llama_vocab_{function}")(vocab, token)


@refused(LlamaValueError, r"llama_detokenize\(\): tokens .+ holds at 1 the token -5, where the vocabulary has \d+")
def test_tokens_are_of_the_vocabulary(vocab: Any) -> None:
    llama.llama_detokenize(vocab, ints(5, -5), 2, bytearray(64), 64, False, False)


@refused(LlamaValueError, r"ggml_new_buffer\(\): nbytes .+ must be from 0 to \d+, not 2000")
def test_a_buffer_is_no_larger_than_what_is_left_of_its_context() -> None:
    llama.ggml_new_buffer(llama.ggml_init(llama.ggml_init_params(1024, None, False)), 2000)


@pytest.mark.parametrize("size", [10**4, 2**31, 2**63, 2**64 - 1])
@refused(LlamaValueError, r"ggml_new_graph_custom\(\): size .+ must be from 0 to \d+, not \d+")
def test_a_graph_is_no_larger_than_what_is_left_of_its_context(size: int) -> None:
    llama.ggml_new_graph_custom(llama.ggml_init(llama.ggml_init_params(10**4, None, True)), size, True)


TOO_MUCH: dict[str, Callable[[], Any]] = {
    "ggml_init": lambda: llama.ggml_init(llama.ggml_init_params(2**50, None, False)),
    "ggml_backend_alloc_buffer": lambda: llama.ggml_backend_alloc_buffer(llama.ggml_backend_cpu_init(), 2**50),
    "ggml_opt_dataset_init": lambda: llama.ggml_opt_dataset_init(0, 0, 2**40, 1, 2**40, 1),
    "llama_batch_init": lambda: llama.llama_batch_init(2**31 - 2, 2**31 - 1, 2**31 - 1),
    "llama_init_from_model": lambda: llama.llama_init_from_model(load(), long_context()),
}


def long_context() -> Any:
    params = llama.llama_context_default_params()
    params.n_ctx = 2**31 - 256
    return params


@pytest.mark.parametrize("function", TOO_MUCH)
@refused(MemoryError, lambda function: rf"{function}\(\): needs more memory than this machine has")
def test_more_than_the_machine_has_is_a_memory_error_at_once(function: str) -> None:
    TOO_MUCH[function]()


@pytest.mark.parametrize("number", [4, 5, 31, 32, 33, 36, 37, 38, 9999])
@pytest.mark.parametrize("function", ["ggml_type_size", "ggml_blck_size", "ggml_is_quantized", "ggml_quantize_init"])
@refused(LlamaValueError, lambda function, number: rf"{function}\(\): type \(enum ggml_type\) has no value {number}")
def test_a_type_that_was_removed_is_none(function: str, number: int) -> None:
    getattr(llama, function)(number)


# ---------------------------------------------------------------- tensors without data


@refused(LlamaValueError, r"gguf_write_to_file\(\): ctx .+ has tensors that were read without their data")
def test_tensors_that_were_read_without_their_data_are_not_written(folder: Path) -> None:
    gguf = llama.gguf_init_from_file(os.fsencode(gguf_files.shared()), llama.gguf_init_params(True, None))
    llama.gguf_write_to_file(gguf, os.fsencode(folder / "out.gguf"), False)


@refused(LlamaValueError, r"gguf_write_to_file_ptr\(\): ctx .+ has tensors that were read without their data")
def test_nor_into_an_open_file(folder: Path) -> None:
    gguf = llama.gguf_init_from_file(os.fsencode(gguf_files.shared()), llama.gguf_init_params(True, None))
    llama.gguf_write_to_file_ptr(gguf, llama.ggml_fopen(os.fsencode(folder / "out.gguf"), b"wb"), False)


@returns(True)
def test_their_metadata_is_written(folder: Path) -> object:
    gguf = llama.gguf_init_from_file(os.fsencode(gguf_files.shared()), llama.gguf_init_params(True, None))
    return llama.gguf_write_to_file(gguf, os.fsencode(folder / "out.gguf"), True)


@pytest.mark.parametrize("function", ["llama_log_get", "ggml_log_get"])
@raises(LlamaValueError, r"\w+_log_get\(\): user_data \(void \*\*\) is NULL, where C reads or writes 1 item")
def test_where_c_writes_user_data_it_is_not_null(function: str) -> None:
    getattr(llama, function)((ctypes.c_void_p * 1)(), None)


@refused(LlamaValueError, r"ggml_opt_get_constant_optimizer_params\(\): userdata .+ is NULL")
def test_where_c_reads_userdata_it_is_not_null() -> None:
    llama.ggml_opt_get_constant_optimizer_params(None)


@returns(None)
def test_no_dataset_may_be_freed() -> object:
    return llama.ggml_opt_dataset_free(None)
