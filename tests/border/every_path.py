"""Each path of the border once or a few times, for valgrind: taken, refused, thrown, called back.

A program: `every_path.py MODEL`. NumPy's import would take most of the time, so the buffers are those of the standard
library, and nothing of tests/support is imported.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import sys
from typing import Any

from llamacffi._llama import convert, functions

import llamacffi
from llamacffi import LlamaAssertionError, LlamaValueError, ffi, lib, llama_cpp


def things() -> list[object]:
    """Return objects of all kinds, good for some parameters and wrong for others."""
    number = ctypes.c_int(5)
    return [
        *(None, True, 5, -5, 2**70, 1.5, "text", "a\0b", "\udc80", [1, 2], [1, "two"], (1, 2), {}, object(), print),
        *(b"bytes", bytearray(8), memoryview(bytearray(8)), memoryview(bytearray(8))[::2]),
        *(array.array("i", [1, 2]), array.array("f", [1.0])),
        *(number, ctypes.c_float(5), ctypes.c_void_p(8), ctypes.c_char_p(b"text"), (ctypes.c_int * 4)()),
        *(ctypes.byref(number), ctypes.byref((ctypes.c_int * 4)(), 8), ctypes.pointer(number)),
        *(ctypes.POINTER(ctypes.c_int)(), llama_cpp.llama_batch(), ctypes.byref(llama_cpp.llama_token_data_array())),
        *(llama_cpp.llama_sampler_i(), llama_cpp.llama_model_default_params()),
        *(ffi.new("int[4]"), ffi.cast("int", 5), ffi.new("struct llama_batch *"), ffi.new("struct llama_batch *")[0]),
        *(
            ffi.NULL,
            llama_cpp.llama_log_callback(lambda *given: None),
            llama_cpp.ggml_abort_callback(lambda data: False),
        ),
    ]


def convert_everything() -> int:
    """Give everything to a parameter of each type; return how many types there are."""
    seen, objects = set(), things()
    for name in sorted(functions):
        for position, ctype in enumerate(ffi.typeof(getattr(lib, name)).args):
            if ctype in seen:
                continue
            seen.add(ctype)
            for thing in objects:
                with contextlib.suppress(TypeError, ValueError):
                    convert(name, position, thing, ctype)
    return len(seen)


def fail(*given: object) -> object:
    return 1 / 0


def open_context(model: Any) -> Any:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 64, 1, 1
    return llama_cpp.llama_init_from_model(model, params)


def tokenize(vocab: Any) -> Any:
    """Return a batch that alone holds its tokens."""
    tokens = array.array("i", [0] * 16)
    count = llama_cpp.llama_tokenize(vocab, " the cat", 8, tokens, 16, True, False)
    return llama_cpp.llama_batch_get_one(tokens, count)


def use_samplers(ctx: Any) -> None:
    """Sample without logits, and let a sampler's function raise."""
    greedy = llama_cpp.llama_sampler_init_greedy()
    with contextlib.suppress(LlamaAssertionError):
        llama_cpp.llama_sampler_sample(greedy, ctx, -1)
    llama_cpp.llama_sampler_free(greedy)
    interface = llama_cpp.llama_sampler_i(accept=llama_cpp.llama_sampler_i_accept(fail))
    interface.apply = llama_cpp.llama_sampler_i_apply(lambda sampler, candidates: None)
    sampler = llama_cpp.llama_sampler_init(ctypes.byref(interface), None)
    del interface
    gc.collect()
    with contextlib.suppress(ZeroDivisionError):
        llama_cpp.llama_sampler_accept(sampler, 5)
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    llama_cpp.llama_sampler_chain_add(chain, sampler)
    llama_cpp.llama_sampler_free(chain)


def use_a_model(path: str) -> None:
    model = llama_cpp.llama_model_load_from_file(path, llama_cpp.llama_model_default_params())
    vocab, ctx = llama_cpp.llama_model_get_vocab(model), open_context(model)
    use_samplers(ctx)
    batch = tokenize(vocab)
    gc.collect()
    assert llama_cpp.llama_decode(ctx, batch) == 0
    assert llama_cpp.llama_get_logits_ith(ctx, -1)[0] is not None
    assert llama_cpp.llama_vocab_get_text(vocab, 5)
    with contextlib.suppress(LlamaValueError):
        llama_cpp.llama_vocab_get_text(vocab, 10**6)
    llama_cpp.llama_set_abort_callback(ctx, llama_cpp.ggml_abort_callback(fail), None)
    with contextlib.suppress(ZeroDivisionError):
        llama_cpp.llama_decode(ctx, batch)
    llama_cpp.llama_free(ctx)
    llama_cpp.llama_model_free(model)
    assert llama_cpp.llama_model_load_from_file("/no/such/file", llama_cpp.llama_model_default_params()) is None


if __name__ == "__main__":
    types = convert_everything()
    llamacffi.log_to("quiet")
    use_a_model(sys.argv[1])
    print("done", types)
