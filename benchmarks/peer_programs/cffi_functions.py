"""Generate with llama-cpp-py-sync's `_cffi_bindings`, its documented way to llama.cpp's functions."""

from __future__ import annotations

from typing import Any

import measuring
from llama_cpp_py_sync import _cffi_bindings

ffi, lib = _cffi_bindings.get_ffi(), _cffi_bindings.get_lib()


@ffi.callback("ggml_log_callback")
def quiet(_level: int, _text: Any, _data: Any) -> None:
    """Keep the log off the screen."""


def open_model(given: measuring.Given) -> measuring.Generate:
    lib.llama_log_set(quiet, ffi.NULL)
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(given["model"].encode(), lib.llama_model_default_params())
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_batch = given["context"], given["batch"]
    params.n_threads = params.n_threads_batch = given["threads"]
    context = lib.llama_init_from_model(model, params)
    sampler = lib.llama_sampler_init_greedy()
    return lambda prompt, count: generate(context, lib.llama_model_get_vocab(model), sampler, prompt, count)


def generate(context: Any, vocab: Any, sampler: Any, prompt: list[int], count: int) -> str:
    lib.llama_memory_clear(lib.llama_get_memory(context), True)
    tokens = ffi.new("llama_token[]", prompt)
    one = ffi.new("llama_token[1]")
    text = b""
    for _ in range(count):
        if lib.llama_decode(context, lib.llama_batch_get_one(tokens, len(tokens))) != 0:
            raise SystemExit("llama_decode failed")
        one[0] = lib.llama_sampler_sample(sampler, context, -1)
        text += piece(vocab, one[0])
        tokens = one
    return text.decode(errors="replace")


def piece(vocab: Any, token: int) -> bytes:
    buffer = ffi.new("char[64]")
    length = lib.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, True)
    return bytes(ffi.buffer(buffer, length))


if __name__ == "__main__":
    measuring.run(open_model)
