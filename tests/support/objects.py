"""Objects of llama.cpp in one line each: models, contexts, batches, samplers, arrays; and decoding.

Where no file is named, the model is the tiny one (support/tiny_model.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from ctypes import byref
from pathlib import Path
from typing import Any

import numpy as np

import llamacffi
from llamacffi import llama_cpp as llama
from support import gguf_files
from support.tiny_model import BEGIN

TOKENS = (BEGIN, 5, 6)


def load(path: Path | None = None, **fields: Any) -> Any:
    """Load a model, with these fields of its params; return None where llama.cpp does not load it."""
    params = _with_fields(llama.llama_model_default_params(), fields)
    return llama.llama_model_load_from_file(os.fsencode(path or gguf_files.shared()), params)


def load_on(devices: Any, path: Path | None = None, **options: Any) -> Any:
    """Load a model on devices, with the options of `llamacffi.offload`."""
    params = llama.llama_model_default_params()
    llamacffi.offload(params, devices, **options)
    return llama.llama_model_load_from_file(os.fsencode(path or gguf_files.shared()), params)


def context_of(model: Any, **fields: Any) -> Any:
    """Make a context of 256 tokens that computes on one thread, unless the fields of its params say otherwise."""
    given = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, **fields}
    return llama.llama_init_from_model(model, _with_fields(llama.llama_context_default_params(), given))


def _with_fields(params: Any, fields: dict[str, Any]) -> Any:
    for name, value in fields.items():
        setattr(params, name, value)
    return params


def decode(ctx: Any, tokens: Iterable[int] = TOKENS) -> int:
    array = ints(*tokens)
    return int(llama.llama_decode(ctx, llama.llama_batch_get_one(array, len(array))))


def load_and_decode(path: Path) -> int:
    return decode(context_of(load(path)))


def load_decode_and_free(path: Path | None = None) -> int | None:
    """Return None where llama.cpp does not load it."""
    model = load(path)
    if model is None:
        return None
    ctx = context_of(model)
    decoded = decode(ctx)
    llama.llama_free(ctx)
    llama.llama_model_free(model)
    return decoded


@contextlib.contextmanager
def repeating(call: Callable[[], object], n_threads: int) -> Iterator[None]:
    """Have so many other threads do this again and again until the block ends, however it does."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            call()

    threads = [threading.Thread(target=repeat) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class Gate:
    """Where a callback waits, so that its thread is inside of a call."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.entered.set()
        self.go_on.wait(20)

    @contextlib.contextmanager
    def holding(self, call: Callable[[], object], name: str | None = None) -> Iterator[None]:
        """Have another thread inside of this call until the block ends."""
        thread = threading.Thread(target=call, name=name)
        thread.start()
        assert self.entered.wait(20)
        try:
            yield
        finally:
            self.go_on.set()
            thread.join(20)


@contextlib.contextmanager
def busy(ctx: Any, batch: Any = None, name: str | None = None) -> Iterator[list[int]]:
    """Have another thread inside of a decode of this context until the block ends; the list gets its result then.

    It decodes one token, or the batch.
    """
    gate = Gate()
    results: list[int] = []

    def wait(data: object) -> bool:
        gate.wait()
        return False

    abort_with(ctx, wait)
    enter = (lambda: llama.llama_decode(ctx, batch)) if batch is not None else (lambda: decode(ctx))
    with gate.holding(lambda: results.append(enter()), name):
        yield results


def logits_of(ctx: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the context's own memory with the logits of its last token."""
    n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(llama.llama_get_model(ctx)))
    return np.ctypeslib.as_array(llama.llama_get_logits_ith(ctx, -1), (n_vocab,))


def adapter_of(model: Any) -> Any:
    """Load a LoRA adapter for the tiny model; return its address."""
    adapter = llama.llama_adapter_lora_init(model, os.fsencode(gguf_files.shared("adapter")))
    return ctypes.cast(adapter, ctypes.c_void_p).value


def use_adapter(ctx: Any, adapter: Any) -> None:
    pointer = llama.llama_adapter_lora_p_ctypes
    llama.llama_set_adapters_lora(ctx, (pointer * 1)(ctypes.cast(adapter, pointer)), 1, (ctypes.c_float * 1)(1.0))


def batch_of_one(n_tokens: int = 8, embd: int = 0) -> Any:
    """Make a batch of `llama_batch_init` that holds one token, or its embedding of zeros."""
    batch = llama.llama_batch_init(n_tokens, embd, 1)
    batch.n_tokens = 1
    batch.pos[0], batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 0, 1, 0, 1
    if embd:
        ctypes.memset(batch.embd, 0, 4 * n_tokens * embd)
    else:
        batch.token[0] = 5
    return batch


def chain_of(*samplers: Any) -> Any:
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    for sampler in samplers:
        llama.llama_sampler_chain_add(chain, sampler)
    return chain


def user_sampler(**functions: Callable[..., Any]) -> Any:
    """Make a sampler of Python functions, which nothing but C holds afterwards; `apply` may be left out."""
    given = {"apply": lambda sampler, candidates: None, **functions}
    made = {name: getattr(llama, f"llama_sampler_i_{name}")(function) for name, function in given.items()}
    return llama.llama_sampler_init(byref(llama.llama_sampler_i(**made)), None)


def candidates(count: int = 10) -> Any:
    """Make a `llama_token_data_array` of the first tokens."""
    data = (llama.llama_token_data * count)(*[(token, float(token % 7), 0.0) for token in range(count)])
    return llama.llama_token_data_array(data=data, size=count, selected=-1)


def pool_of(n_threads: int, **fields: Any) -> Any:
    params = _with_fields(llama.ggml_threadpool_params_default(n_threads), fields)
    return llama.ggml_threadpool_new(byref(params))


def abort_with(ctx: Any, function: Callable[[Any], object]) -> None:
    """Let the context's decodes call this function, and stop where it returns something true."""
    llama.llama_set_abort_callback(ctx, llama.ggml_abort_callback(function), None)


def ints(*values: int) -> Any:
    return (ctypes.c_int32 * len(values))(*values)


def floats(count: int) -> Any:
    return (ctypes.c_float * count)()


def strings(*values: bytes | None) -> Any:
    return (ctypes.c_char_p * len(values))(*values)
