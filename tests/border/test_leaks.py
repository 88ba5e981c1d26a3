"""Calling a hundred thousand times, well or wrongly, leaves neither references nor memory behind."""

from __future__ import annotations

import array
import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import pytest
from llamacffi._llama import convert, functions

import llamacffi
from llamacffi import LlamaError, LlamaValueError, ctypes_types, ffi, llama_cpp
from support.objects import TOKENS, chain_of, context_of, decode, load, user_sampler

CALLS = 100_000
WARM_UP = 5_000
MEGABYTE = 2**20
NOISE = 1_000  # references that caches and pytest itself take and drop; one a call would be 100,000

Path = tuple[Callable[..., object], tuple[object, ...]]


def argument(function: str, position: int, given: object) -> Path:
    """Convert one argument, as the call of `function` would."""
    ctype = ffi.typeof(getattr(llamacffi.lib, function)).args[position]
    return convert, (function, position, given, ctype)


class Number:
    """An integer by `__index__` only."""

    def __index__(self) -> int:
        return 5


def well_converted() -> dict[str, object]:
    """Objects that `llama_detokenize` takes for its tokens (`const llama_token *`)."""
    tokens = (ctypes.c_int32 * 4)()
    return {
        "ctypes array": tokens,
        "byref": ctypes.byref(tokens),
        "pointer": ctypes.pointer(ctypes.c_int32(5)),
        "numpy": np.zeros(4, np.int32),
        "array.array": array.array("i", [1, 2]),
        "memoryview": np.zeros(4, np.int32).data,
        "cdata": ffi.new("llama_token[4]"),
        "list": [100_001, 100_002, np.int64(3)],
        "tuple": (100_001, True),
        "None": None,
    }


def wrongly_converted() -> dict[str, object]:
    return {
        "float array": np.zeros(4, np.float32),
        "strided array": np.zeros(8, np.int32)[::2],
        "list with a string at its end": [100_001, 100_002, "three"],
        "list with a number beyond": [100_001, 2**40],
        "other pointer": ctypes.pointer(ctypes.c_double()),
        "other byref": ctypes.byref(ctypes.c_double()),
        "other cdata": ffi.new("double[4]"),
        "string": "text of no use here",
        "int": 100_003,
        "object": object(),
    }


def argument_paths() -> dict[str, Path]:
    tokens = {f"tokens: {name}": argument("llama_detokenize", 1, given) for name, given in well_converted().items()}
    return tokens | {
        "number: int": argument("llama_vocab_is_eog", 1, 100_004),
        "number: numpy": argument("llama_vocab_is_eog", 1, np.int64(100_005)),
        "number: ctypes": argument("llama_vocab_is_eog", 1, ctypes.c_int32(5)),
        "number: cdata": argument("llama_vocab_is_eog", 1, ffi.cast("int", 5)),
        "number: __index__": argument("llama_vocab_is_eog", 1, Number()),
        "float: numpy": argument("llama_sampler_init_temp", 0, np.float32(0.25)),
        "text: bytes": argument("llama_model_load_from_file", 0, b"some bytes"),
        "text: str": argument("llama_model_load_from_file", 0, "a text: ä"),
        "text: bytearray": argument("llama_model_load_from_file", 0, bytearray(b"some bytes\0")),
        "handle: int": argument("llama_n_ctx", 0, ctypes.addressof(ctypes.create_string_buffer(8))),
        "struct: ctypes": argument("llama_decode", 1, llama_cpp.llama_batch()),
        "struct: cdata": argument("llama_decode", 1, ffi.new("struct llama_batch *")[0]),
        "struct pointer: byref": argument("llama_sampler_apply", 1, ctypes.byref(llama_cpp.llama_token_data_array())),
        "callback: ctypes": argument("llama_log_set", 0, llama_cpp.llama_log_callback(lambda *given: None)),
    }


def refused_paths() -> dict[str, Path]:
    tokens = {f"tokens: {name}": argument("llama_detokenize", 1, given) for name, given in wrongly_converted().items()}
    return tokens | {
        "number: string": argument("llama_vocab_is_eog", 1, "no number at all"),
        "number: beyond": argument("llama_detokenize", 2, 2**70),
        "number: float cdata": argument("llama_vocab_is_eog", 1, ffi.cast("double", 1.5)),
        "float: string": argument("llama_sampler_init_temp", 0, "no number at all"),
        "text: NUL": argument("llama_model_load_from_file", 0, "a\0b"),
        "text: surrogate": argument("llama_model_load_from_file", 0, "a\udc80"),
        "text: list": argument("llama_model_load_from_file", 0, ["a list"]),
        "handle: None": argument("llama_n_ctx", 0, None),
        "handle: string": argument("llama_n_ctx", 0, "no handle at all"),
        "handle: other cdata": argument("llama_n_ctx", 0, ffi.cast("struct llama_model *", 8)),
        "struct: other": argument("llama_decode", 1, llama_cpp.llama_token_data()),
        "callback: function": argument("llama_log_set", 0, print),
        "callback: other": argument("llama_log_set", 0, llama_cpp.ggml_abort_callback(lambda data: False)),
    }


def call_paths(model: Any, context: Any, vocab: Any) -> dict[str, Path]:
    """Whole calls, for their results and for what C throws."""
    tokens = np.array(TOKENS, np.int32)
    assert decode(context, tokens) == 0
    calls: dict[str, tuple[object, ...]] = {
        "llama_n_ctx": (context,),
        "llama_model_rope_freq_scale_train": (model,),
        "llama_get_memory": (context,),
        "llama_get_logits_ith": (context, -1),
        "llama_get_embeddings": (context,),
        "llama_vocab_get_text": (vocab, 5),
        "llama_token_to_piece": (vocab, 5, bytearray(16), 16, 0, False),
        "llama_tokenize": (vocab, b" the cat", 8, np.zeros(32, np.int32), 32, True, False),
        "llama_batch_get_one": (tokens, 3),
        "llama_context_default_params": (),
        "llama_model_chat_template": (model, None),
        "llama_perf_context_reset": (context,),
        "llama_vocab_is_eog": (vocab, 5),
    }
    thrown = {"llama_vocab_get_text, thrown": (llama_cpp.llama_vocab_get_text, (vocab, 10**6))}
    wrong = {"llama_n_ctx, too many": (llama_cpp.llama_n_ctx, (context, context))}
    later = {
        "last argument wrong": (llama_cpp.llama_tokenize, (vocab, "text", 4, np.zeros(9, np.int32), 9, True, "no"))
    }
    return {name: (functions[name], given) for name, given in calls.items()} | thrown | wrong | later


def repeat(path: Path, count: int) -> None:
    function, given = path
    for _ in range(count):
        try:  # noqa: SIM105
            function(*given)
        except (TypeError, LlamaError):
            pass


def watched(path: Path) -> Iterator[object]:
    """List what must keep its references: the arguments, what is in them, types of what is made, what is immortal."""
    yield from (None, True, False, (), 0, 1, b"")
    for given in path[1]:
        yield given
        yield from given if isinstance(given, list | tuple) else ()
    yield from (TypeError, LlamaError, LlamaValueError)
    yield from map(ctypes_types.named, ("llama_batch", "llama_context_params", "ggml_log_callback"))
    yield ctypes.POINTER(ctypes.c_float)


def references(path: Path) -> list[int]:
    return [sys.getrefcount(thing) for thing in watched(path)]


def resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def assert_level(path: Path) -> None:
    repeat(path, WARM_UP)
    before, memory = references(path), resident()
    repeat(path, CALLS)
    grown = resident() - memory
    changes = [after - one for one, after in zip(before, references(path), strict=True)]
    assert max(map(abs, changes)) < NOISE
    assert grown < MEGABYTE


@pytest.mark.parametrize("name", argument_paths())
def test_converting_an_argument_leaves_nothing_behind(name: str) -> None:
    path = argument_paths()[name]
    path[0](*path[1])  # it must not be refused
    assert_level(path)


@pytest.mark.parametrize("name", refused_paths())
def test_refusing_an_argument_leaves_nothing_behind(name: str) -> None:
    path = refused_paths()[name]
    with pytest.raises((TypeError, LlamaValueError)):
        path[0](*path[1])
    assert_level(path)


CALL_NAMES = (
    "llama_n_ctx",
    "llama_model_rope_freq_scale_train",
    "llama_get_memory",
    "llama_get_logits_ith",
    "llama_get_embeddings",
    "llama_vocab_get_text",
    "llama_token_to_piece",
    "llama_tokenize",
    "llama_batch_get_one",
    "llama_context_default_params",
    "llama_model_chat_template",
    "llama_perf_context_reset",
    "llama_vocab_is_eog",
    "llama_vocab_get_text, thrown",
    "llama_n_ctx, too many",
    "last argument wrong",
)


@pytest.mark.parametrize("name", CALL_NAMES)
def test_a_call_leaves_nothing_behind(name: str, tiny: Any, context: Any, vocab: Any) -> None:
    assert_level(call_paths(tiny, context, vocab)[name])


def test_each_kind_of_call_is_among_the_tests(tiny: Any, context: Any, vocab: Any) -> None:
    assert set(CALL_NAMES) == set(call_paths(tiny, context, vocab))


# ---------------------------------------------------------------- what is made and freed


def sampler_made_and_freed() -> None:
    llama_cpp.llama_sampler_free(chain_of(llama_cpp.llama_sampler_init_greedy()))


def custom_sampler_made_and_freed() -> None:
    sampler = user_sampler()
    llama_cpp.llama_sampler_accept(sampler, 5)
    llama_cpp.llama_sampler_free(sampler)


def callback_raises() -> None:
    def fail(*given: object) -> None:
        raise ValueError("from the callback")

    sampler = user_sampler(accept=fail)
    with pytest.raises(ValueError, match="from the callback"):
        llama_cpp.llama_sampler_accept(sampler, 5)
    llama_cpp.llama_sampler_free(sampler)


def log_callback_replaced() -> None:
    llama_cpp.llama_log_set(llama_cpp.llama_log_callback(lambda level, text, user_data: None), None)
    llama_cpp.llama_log_set(None, None)


MADE = (sampler_made_and_freed, custom_sampler_made_and_freed, callback_raises, log_callback_replaced)


@pytest.mark.parametrize("make", MADE)
def test_what_is_made_and_freed_leaves_nothing_behind(make: Callable[[], None]) -> None:
    """Callbacks are cycles, which wait for the collector; so their memory is looked at after it ran."""
    for _ in range(500):
        make()
    before = resident()
    for _ in range(3_000):
        make()
    assert resident() - before < MEGABYTE


@pytest.mark.long
def test_models_and_contexts_leave_nothing_behind(tiny_path: Any) -> None:
    llamacffi.log_to("quiet")

    def make() -> None:
        model = load(tiny_path)
        llama_cpp.llama_free(context_of(model))
        llama_cpp.llama_model_free(model)

    for _ in range(50):
        make()
    before = resident()
    for _ in range(500):
        make()
    llamacffi.log_to(None)
    assert resident() - before < MEGABYTE
