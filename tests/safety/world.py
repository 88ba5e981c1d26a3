"""The names that the code of the children uses: a tiny model, contexts, a batch, samplers, and what was freed.

Imported in a child only, whose first argument is the model's path.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import threading
import time
from ctypes import byref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf_files
import numpy as np
import tiny_model

import llamacffi
from llamacffi import ffi, lib, llama_cpp
from llamacffi import llama_cpp as L

__all__ = [
    "TINY",
    "L",
    "Path",
    "SimpleNamespace",
    "adapter_path",
    "batch_of_one",
    "byref",
    "candidates",
    "chain_of",
    "context_of",
    "ctypes",
    "decode",
    "ffi",
    "floats",
    "gc",
    "ints",
    "lib",
    "llama_cpp",
    "llamacffi",
    "load",
    "load_and_decode",
    "np",
    "os",
    "pool_of",
    "signal",
    "strings",
    "sys",
    "threading",
    "time",
    "tiny_model",
    "user_sampler",
]

TINY = sys.argv[1]
logging.getLogger("quiet").setLevel(logging.CRITICAL + 1)
llamacffi.log_to("quiet")


def load(path: str | Path = TINY, **fields: Any) -> Any:
    params = L.llama_model_default_params()
    for name, value in fields.items():
        setattr(params, name, value)
    return L.llama_model_load_from_file(str(path), params)


def context_of(model: Any, **fields: Any) -> Any:
    params = L.llama_context_default_params()
    for name, value in {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, **fields}.items():
        setattr(params, name, value)
    return L.llama_init_from_model(model, params)


def decode(ctx: Any, tokens: tuple[int, ...] = (tiny_model.BEGIN, 5, 6)) -> int:
    return int(L.llama_decode(ctx, L.llama_batch_get_one(ints(*tokens), len(tokens))))


def load_and_decode(path: str) -> int:
    """For a process of `multiprocessing`."""
    return decode(context_of(load(path)))


def batch_of_one(n_tokens: int = 8, embd: int = 0, n_seq_max: int = 1) -> Any:
    """A batch of `llama_batch_init` that holds one token."""
    batch = L.llama_batch_init(n_tokens, embd, n_seq_max)
    batch.n_tokens = 1
    batch.pos[0], batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 0, 1, 0, 1
    if embd:
        ctypes.memset(batch.embd, 0, 4 * n_tokens * embd)
    else:
        batch.token[0] = 5
    return batch


def chain_of(*samplers: Any) -> Any:
    chain = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
    for sampler in samplers:
        L.llama_sampler_chain_add(chain, sampler)
    return chain


def candidates(count: int = 10) -> Any:
    """A `llama_token_data_array` of the first tokens."""
    data = (L.llama_token_data * count)(*[L.llama_token_data(i, float(i % 7), 0.0) for i in range(count)])
    array = L.llama_token_data_array()
    array.data, array.size, array.selected = data, count, -1
    return array


def user_sampler(**functions: Any) -> Any:
    """A sampler of the user's own."""
    made = {name: getattr(L, f"llama_sampler_i_{name}")(function) for name, function in functions.items()}
    return L.llama_sampler_init(byref(L.llama_sampler_i(**made)), None)


def pool_of(n_threads: int) -> Any:
    params = L.ggml_threadpool_params_default(n_threads)
    params.n_threads = n_threads
    return L.ggml_threadpool_new(byref(params))


def ints(*values: int) -> Any:
    return (ctypes.c_int32 * len(values))(*values)


def floats(count: int) -> Any:
    return (ctypes.c_float * count)()


def strings(*values: bytes | None) -> Any:
    return (ctypes.c_char_p * len(values))(*values)


def adapter_path() -> str:
    """A LoRA adapter for the tiny model."""
    path = Path(TINY).with_name(f"adapter-{os.getpid()}.gguf")
    gguf_files.write_adapter(path)
    return str(path)
