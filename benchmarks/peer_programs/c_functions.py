"""Generate with llama.cpp's functions by their C names: `c_functions.py JSON MODULE`, of llamacffi or llama-cpp-python.

Both document these calls, so one program does for both, as a user's program does whose import is changed.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from typing import Any

import measuring

api: Any = importlib.import_module(sys.argv[2])
quiet = api.llama_log_callback(lambda *_: None)  # llama-cpp-python does not keep it alive


def open_model(given: measuring.Given) -> measuring.Generate:
    api.llama_log_set(quiet, None)
    api.llama_backend_init()
    model = api.llama_model_load_from_file(given["model"].encode(), api.llama_model_default_params())
    context = api.llama_init_from_model(model, context_params(given))
    vocab = api.llama_model_get_vocab(model)
    sampler = api.llama_sampler_init_greedy()
    return lambda prompt, count: generate(context, vocab, sampler, prompt, count)


def context_params(given: measuring.Given) -> Any:
    params = api.llama_context_default_params()
    params.n_ctx, params.n_batch = given["context"], given["batch"]
    params.n_threads = params.n_threads_batch = given["threads"]
    return params


def generate(context: Any, vocab: Any, sampler: Any, prompt: list[int], count: int) -> str:
    api.llama_memory_clear(api.llama_get_memory(context), True)
    tokens = (api.llama_token * len(prompt))(*prompt)
    one = (api.llama_token * 1)()
    text = b""
    for _ in range(count):
        if api.llama_decode(context, api.llama_batch_get_one(tokens, len(tokens))) != 0:
            raise SystemExit("llama_decode failed")
        one[0] = api.llama_sampler_sample(sampler, context, -1)
        text += piece(vocab, one[0])
        tokens = one
    return text.decode(errors="replace")


def piece(vocab: Any, token: int) -> bytes:
    buffer = ctypes.create_string_buffer(64)
    length = api.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, True)
    return buffer.raw[:length]


if __name__ == "__main__":
    measuring.run(open_model)
