"""Calls that work, and that no type checker may refuse: what docs/border.md says is accepted, each kind once."""

from __future__ import annotations

import array
import ctypes

import numpy as np

from llamacffi import ffi, lib, mtmd_cpp
from llamacffi import llama_cpp as llama


def load(path: str) -> llama.llama_context_p:
    llama.llama_backend_init()
    llama.llama_numa_init(llama.GGML_NUMA_STRATEGY_DISABLED)
    llama.llama_numa_init(numa=0)
    llama.llama_numa_init(numa_strategy=0)  # as documented
    params = llama.llama_model_default_params()
    params.n_gpu_layers = 0
    params.use_mmap = True
    params.progress_callback = llama.llama_progress_callback(lambda progress, _: progress < 1)
    model = llama.llama_model_load_from_file(path.encode(), params)
    if not model:
        raise RuntimeError("no model")
    context_params = llama.llama_context_params(n_ctx=512, n_batch=np.uint32(64))
    context_params.n_ctx = 1024
    ctx = llama.llama_init_from_model(model=model, params=context_params)
    if ctx is None:
        raise RuntimeError("no context")
    assert llama.llama_get_model(ctx) == model
    return ctx


def tokenize(model: llama.llama_model_p, text: str) -> list[int]:
    vocab = llama.llama_model_get_vocab(model)
    for given in (text, text.encode(), bytearray(text.encode()), ctypes.create_string_buffer(text.encode())):
        tokens = (llama.llama_token * 64)()
        llama.llama_tokenize(vocab, given, len(text), tokens, 64, True, False)
    llama.llama_tokenize(vocab, text, len(text), np.zeros(64, np.int32), np.int64(64), np.bool_(True), 0)
    llama.llama_tokenize(vocab, text, len(text), array.array("i", [0] * 64), 64, ctypes.c_bool(True), False)
    llama.llama_tokenize(vocab, text, len(text), memoryview(array.array("i", [0])), 1, True, False)
    llama.llama_tokenize(vocab, text, len(text), ffi.new("llama_token[64]"), 64, True, False)
    llama.llama_tokenize(vocab, text, len(text), (ctypes.c_uint32 * 64)(), 64, True, False)
    llama.llama_tokenize(
        vocab, text, len(text), ctypes.cast((ctypes.c_int * 64)(), llama.llama_token_p), 64, True, False
    )
    llama.llama_tokenize(vocab, text, len(text), None, 0, add_special=True, parse_special=False)
    piece = bytearray(64)
    llama.llama_token_to_piece(vocab, ctypes.c_int32(1), piece, len(piece), 0, False)
    llama.llama_detokenize(vocab, [1, 2, 3], 3, piece, len(piece), False, False)
    llama.llama_detokenize(vocab, (1, 2, 3), 3, ctypes.create_string_buffer(64), 64, False, False)
    return [*llama.llama_vocab_get_text(vocab, 1)]


def decode(
    ctx: llama.llama_context_p, tokens: llama.CtypesArray[llama.llama_token]
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    batch = llama.llama_batch_init(8, 0, 1)
    batch.n_tokens = len(tokens)
    batch.token[0] = 1
    batch.seq_id[0][0] = 0
    batch.logits = (ctypes.c_int8 * 8)()
    if llama.llama_decode(ctx, batch) or lib.llama_decode(
        ctx=ctx, batch=llama.llama_batch_get_one(tokens, len(tokens))
    ):
        raise RuntimeError
    llama.llama_batch_free(batch)
    logits = llama.llama_get_logits_ith(ctx, -1)
    print(logits[0], llama.llama_batch.n_tokens.offset, bool(logits))
    return np.ctypeslib.as_array(logits, (8,))


def sample(ctx: llama.llama_context_p, vocab: llama.llama_vocab_p) -> int:
    chain: llama.llama_sampler_p = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    penalties = llama.llama_sampler_init_penalties(
        100, 64, penalty_repeat=1, penalty_freq=0.5, penalty_present=np.float32(0)
    )
    llama.llama_sampler_chain_add(chain, penalties)
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_grammar(vocab, 'root ::= "a"', "root"))
    bias = (llama.llama_logit_bias * 1)(llama.llama_logit_bias(token=1, bias=-1.0))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_logit_bias(1000, 1, bias))
    candidates = (llama.llama_token_data * 2)(llama.llama_token_data(1, 0.5, 0.0))
    tokens = llama.llama_token_data_array(data=candidates, size=2, selected=-1, sorted=False)
    llama.llama_sampler_apply(chain, ctypes.byref(tokens))
    llama.llama_sampler_apply(chain, llama.byref(tokens))
    llama.llama_sampler_apply(chain, ctypes.pointer(tokens))
    llama.llama_sampler_apply(chain, tokens)
    llama.llama_sampler_free(None)
    return llama.llama_sampler_sample(chain, ctx, -1)


@llama.ggml_log_callback
def log(level: int, text: bytes, user_data: int | None) -> None:
    print(level, text.decode(), user_data)


def stop(data: int | None) -> bool:
    return data is None


def others(model: llama.llama_model_p, ctx: llama.llama_context_p) -> None:
    llama.llama_log_set(log, None)
    abort = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(stop)
    llama.llama_set_abort_callback(ctx, abort, ctypes.c_void_p(0))
    llama.llama_set_abort_callback(ctx, None, None)
    adapter = llama.llama_adapter_lora_init(model, "adapter.gguf")
    if adapter:
        adapters = (llama.llama_adapter_lora_p_ctypes * 1)(adapter)
        llama.llama_set_adapters_lora(ctx, adapters, 1, (ctypes.c_float * 1)(0.5))
    state = np.empty(llama.llama_state_get_size(ctx), np.uint8)
    llama.llama_state_set_data(ctx, state, llama.llama_state_get_data(ctx, state, state.nbytes))
    llama.llama_state_set_data(ctx, b"bytes", 5)
    memory = llama.llama_get_memory(ctx)
    if memory:
        llama.llama_memory_seq_rm(memory, 0, -1, -1)
    llama.llama_n_ctx(ctypes.c_void_p(ctx))
    llama.llama_n_ctx(ffi.cast("struct llama_context *", ctx))
    override = llama.llama_model_kv_override(tag=llama.LLAMA_KV_OVERRIDE_TYPE_INT, key=b"key")
    override.value.val_i64 = 5
    llama.llama_model_default_params().kv_overrides = ctypes.pointer(override)
    projector = mtmd_cpp.mtmd_init_from_file("projector.gguf", model, mtmd_cpp.mtmd_context_params_default())
    if projector:
        bitmap = mtmd_cpp.mtmd_helper_bitmap_init_from_file(projector, b"image.png", False)
        mtmd_cpp.mtmd_bitmap_free(bitmap)
    saved = llama.llama_model_save_to_file(model, "copy.gguf") and llama.llama_model_save_to_file(
        model, path_model=b"x"
    )
    print(saved, lib.llama_model_save_to_file(model, fname="copy.gguf"))
    llama.llama_free(ctx)
    llama.llama_model_free(model)
