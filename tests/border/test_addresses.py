"""A C function that one of ours stands in place of works as well when foreign code calls it through its address.

`ffi.addressof(lib, name)` and `llama_cpp._lib` give away what other C code may call: there is no record of such a call,
no handle is checked, and nothing catches an exception, so what is refused is logged, and the answer is a failure.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import llamacffi
from llamacffi import ffi, lib
from llamacffi import llama_cpp as llama
from support import tiny_model
from support.cells import returns

DEEP = b"root ::= " + b"(" * 1_000_000 + b'"a"' + b")" * 1_000_000


def through_address(name: str) -> Any:
    """C's function as foreign code has it."""
    return ffi.addressof(lib, name)


def handle(kind: str, address: int) -> Any:
    return ffi.cast(f"struct {kind} *", address)


@returns((True, 0, True))
def test_a_batch_is_made_and_freed() -> tuple[bool, int, bool]:
    batch = through_address("llama_batch_init")(4, 0, 1)
    zeroed = batch.token[3]
    through_address("llama_batch_free")(batch)
    return batch.pos != ffi.NULL, zeroed, batch.embd == ffi.NULL


@returns((True, "llama_batch_init(): sizes must not be negative\n"))
def test_what_is_refused_is_logged_and_nothing_is_made() -> tuple[bool, str]:
    logged: list[str] = []
    llama.llama_log_set(llama.llama_log_callback(lambda level, text, data: logged.append(text.decode())), None)
    batch = through_address("llama_batch_init")(-1, 0, 1)
    return batch.pos == ffi.NULL, logged[-1]


@returns((512, 0))
def test_a_context_is_made_and_decodes_and_is_freed(model: Any) -> tuple[int, int]:
    params = through_address("llama_context_default_params")()
    params.n_threads = params.n_threads_batch = 2
    context = through_address("llama_init_from_model")(handle("llama_model", model), params)
    tokens = ffi.new("int32_t[]", [1, 5, 6])
    status = through_address("llama_decode")(context, through_address("llama_batch_get_one")(tokens, 3))
    size = through_address("llama_n_ctx")(context)
    through_address("llama_free")(context)
    return size, status


@returns(True)
def test_a_model_is_loaded_and_freed(folder: Path) -> bool:
    params = through_address("llama_model_default_params")()
    model = through_address("llama_model_load_from_file")(str(tiny_model.write(folder / "tiny.gguf")).encode(), params)
    loaded = model != ffi.NULL
    through_address("llama_model_free")(model)
    return bool(loaded)


@returns((True, True))
def test_a_grammar_that_nests_too_deeply_is_null(vocab: Any) -> tuple[bool, bool]:
    init = through_address("llama_sampler_init_grammar")
    good = init(handle("llama_vocab", vocab), b'root ::= "a"', b"root")
    return good != ffi.NULL, init(handle("llama_vocab", vocab), DEEP, b"root") == ffi.NULL


@returns(1)
def test_a_quantization_that_is_refused_has_failed() -> int:
    params = through_address("llama_model_quantize_default_params")()
    status: int = through_address("llama_model_quantize")(b"same", b"", ffi.addressof(params))
    return status


@returns(True)
def test_a_state_is_copied_where_no_size_is_known(ctx: Any) -> bool:
    size = llama.llama_state_get_size(ctx)
    room = ffi.new("uint8_t[]", size)
    written = through_address("llama_copy_state_data")(handle("llama_context", ctx), room)
    return bool(0 < written <= size)


@returns(True)
def test_code_that_takes_functions_out_of_a_ctypes_library_gets_the_same() -> bool:
    function: Any = llama._lib.llama_supports_gpu_offload
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address
    return bool(ctypes.CFUNCTYPE(ctypes.c_bool)(address)() == llama.llama_supports_gpu_offload())


@returns("ValueError")
def test_a_refusal_inside_of_a_running_call_is_not_its_own(ctx: Any) -> str:
    """An exception of the callback alone comes out of the decode, not what its foreign call was refused."""

    def stop(data: Any) -> bool:
        through_address("llama_batch_init")(-1, 0, 1)
        raise ValueError("the callback's own")

    llama.llama_set_abort_callback(ctx, llama.ggml_abort_callback(stop), None)
    try:
        llama.llama_decode(ctx, llama.llama_batch_get_one((ctypes.c_int32 * 1)(5), 1))
    except (ValueError, llamacffi.LlamaError) as error:
        return type(error).__name__
    return "nothing"
