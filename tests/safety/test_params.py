"""Each field of each params struct at the ends of its range: what it is used for ends in a result or an exception.

The fields are the structs' own, so one of a later llama.cpp is among them by itself. Pointers are left out: what a
caller puts there is the caller's. What is done with the params is all that a program does next.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
from collections.abc import Callable, Iterator
from ctypes import byref
from pathlib import Path
from typing import Any

import pytest

from llamacffi import LlamaError
from llamacffi import llama_cpp as llama
from support import gguf_files
from support.cells import returns
from support.objects import adapter_of, chain_of, context_of, decode, load, use_adapter

FLOATS = (math.nan, math.inf, -math.inf, -1.0, 0.0, 3e38)

# These alone are too slow or too large for what they tell: a machine with that much memory really makes such a context.
LARGE = {("llama_context_params", "n_ctx"): (0, 1, 255, 4096, 2**32 - 1, 2**31 - 1)}


def extremes(struct: str, field: str, ctype: Any) -> tuple[Any, ...]:
    if (struct, field) in LARGE:
        return LARGE[struct, field]
    if ctype is ctypes.c_bool:
        return (True, False)
    if ctype in (ctypes.c_float, ctypes.c_double):
        return FLOATS
    bits = 8 * ctypes.sizeof(ctype)
    signed = ctype(-1).value < 0
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return tuple(dict.fromkeys((least, -1 if signed else 2, 0, 1, 3, 99, 2**31 - 1, most)))


def fields(struct: str) -> Iterator[tuple[str, Any]]:
    """All numbers of a struct, with their ends."""
    for field, ctype in getattr(llama, struct)._fields_:
        if issubclass(ctype, ctypes._SimpleCData) and ctype._type_ not in "PzZO":
            yield from ((field, value) for value in extremes(struct, field, ctype))


def survived(use: Callable[[], object]) -> str:
    with contextlib.suppress(LlamaError, MemoryError):
        use()
    return "survived"


def use_context(ctx: Any) -> None:
    """Do what programs do with a context; each may be refused."""
    if not ctx:
        return
    state = bytearray(1 << 20)
    size = ctypes.c_size_t()
    greedy = chain_of(llama.llama_sampler_init_greedy())
    memory = llama.llama_get_memory(ctx)
    uses: tuple[Callable[[], object], ...] = (
        lambda: decode(ctx),
        lambda: llama.llama_sampler_sample(greedy, ctx, -1),
        lambda: llama.llama_get_embeddings_seq(ctx, 0),
        lambda: memory and llama.llama_memory_seq_rm(memory, 0, 1, -1),
        lambda: memory and llama.llama_memory_seq_add(memory, 0, 0, -1, 1),
        lambda: llama.llama_state_get_data(ctx, state, len(state)),
        lambda: llama.llama_state_seq_get_data(ctx, state, len(state), 0),
        lambda: llama.llama_set_adapter_cvec(ctx, None, 0, 64, 0, 1),
        lambda: llama.llama_set_embeddings(ctx, True),
        lambda: decode(ctx, (5,)),
        lambda: llama.llama_state_load_file(ctx, b"/nonexistent", None, 0, byref(size)),
        lambda: llama.llama_free(ctx),
    )
    for one in uses:
        survived(one)


def use_model(model: Any, folder: Path) -> None:
    if not model:
        return
    file = os.fsencode(folder / "saved.gguf")
    survived(lambda: llama.llama_tokenize(llama.llama_model_get_vocab(model), b"the cat", 7, None, 0, True, True))
    survived(lambda: use_context(context_of(model)))
    survived(lambda: use_with_adapter(model))
    survived(lambda: llama.llama_model_save_to_file(model, file))
    survived(lambda: llama.llama_model_desc(model, bytearray(64), 64))
    survived(lambda: llama.llama_model_free(model))


def use_with_adapter(model: Any) -> None:
    adapter, ctx = adapter_of(model), context_of(model)
    if adapter and ctx:
        use_adapter(ctx, adapter)
        decode(ctx)


def with_field(params: Any, field: str, value: Any) -> Any:
    setattr(params, field, value)
    return params


@pytest.mark.parametrize(("field", "value"), [*fields("llama_model_params")])
@returns("survived")
def test_a_model_with_this_field_is_survived(field: str, value: Any, folder: Path) -> str:
    return survived(lambda: use_model(load(**{field: value}), folder))


@pytest.mark.parametrize(("field", "value"), [*fields("llama_model_params")])
@returns("survived")
def test_a_model_without_weights_with_this_field_is_survived(field: str, value: Any, folder: Path) -> str:
    given = {"no_alloc": True, "load_mode": llama.LLAMA_LOAD_MODE_NONE}
    return survived(lambda: use_model(load(**{**given, field: value}), folder))


@pytest.mark.parametrize(("field", "value"), [*fields("llama_context_params")])
@returns("survived")
def test_a_context_with_this_field_is_survived(field: str, value: Any, model: Any) -> str:
    return survived(lambda: use_context(context_of(model, **{field: value})))


@pytest.mark.parametrize(("field", "value"), [*fields("llama_context_params")])
@returns("survived")
def test_a_context_that_embeds_with_this_field_is_survived(field: str, value: Any, model: Any) -> str:
    given = {"embeddings": True, "attention_type": llama.LLAMA_ATTENTION_TYPE_NON_CAUSAL, "pooling_type": 1}
    return survived(lambda: use_context(context_of(model, **{**given, field: value})))


@pytest.mark.parametrize(("field", "value"), [*fields("llama_model_quantize_params")])
@returns("survived")
def test_quantizing_with_this_field_is_survived(field: str, value: Any, folder: Path) -> str:
    params = with_field(llama.llama_model_quantize_default_params(), field, value)
    source, target = os.fsencode(gguf_files.shared()), os.fsencode(folder / "quantized.gguf")
    return survived(lambda: llama.llama_model_quantize(source, target, byref(params)))


@pytest.mark.parametrize(("field", "value"), [*fields("ggml_threadpool_params")])
@returns("survived")
def test_a_pool_with_this_field_is_survived(field: str, value: Any, model: Any) -> str:
    params = with_field(llama.ggml_threadpool_params_default(2), field, value)

    def use() -> None:
        ctx = context_of(model)
        llama.llama_attach_threadpool(ctx, llama.ggml_threadpool_new(byref(params)), None)
        decode(ctx)

    return survived(use)


@pytest.mark.parametrize(("field", "value"), [*fields("ggml_init_params")])
@returns("survived")
def test_a_context_of_ggml_with_this_field_is_survived(field: str, value: Any) -> str:
    params = with_field(llama.ggml_init_params(4096, None, False), field, value)
    return survived(lambda: llama.ggml_free(llama.ggml_init(params)))
