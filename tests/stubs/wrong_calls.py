"""Calls that are wrong, each with what mypy and pyright have to find on its line."""

from __future__ import annotations

import ctypes

from llamacffi import lib, mtmd_cpp
from llamacffi import llama_cpp as llama


def handles(
    model: llama.llama_model_p, ctx: llama.llama_context_p, vocab: llama.llama_vocab_p, image: llama.mtmd_context_p
) -> None:
    # another kind
    llama.llama_n_ctx(model)  # wrong: arg-type reportArgumentType
    lib.llama_n_ctx(model)  # wrong: arg-type reportArgumentType
    llama.llama_vocab_n_tokens(model)  # wrong: arg-type reportArgumentType
    llama.llama_decode(vocab, llama.llama_batch_init(1, 0, 1))  # wrong: arg-type reportArgumentType
    mtmd_cpp.mtmd_free(ctx)  # wrong: arg-type reportArgumentType
    llama.llama_sampler_free(model)  # wrong: arg-type reportArgumentType
    llama.ggml_threadpool_free(image)  # wrong: arg-type reportArgumentType
    llama.llama_n_ctx(12345)  # wrong: arg-type reportArgumentType

    # None where C allows none, and what may be None
    llama.llama_n_ctx(None)  # wrong: arg-type reportArgumentType
    new = llama.llama_init_from_model(model, llama.llama_context_default_params())
    llama.llama_n_ctx(new)  # wrong: arg-type reportArgumentType
    llama.llama_model_chat_template(model, None).decode()  # wrong: union-attr reportOptionalMemberAccess


def values(ctx: llama.llama_context_p, vocab: llama.llama_vocab_p) -> None:
    tokenize, tokens, floats = llama.llama_tokenize, (llama.llama_token * 4)(), (ctypes.c_float * 4)()
    tokenize(vocab, "text", 4, floats, 4, True, False)  # wrong: arg-type reportArgumentType
    tokenize(vocab, "text", 4, bytearray(16), 4, True, False)  # wrong: arg-type reportArgumentType
    tokenize(vocab, "text", 4, [1, 2], 2, True, False)  # wrong: arg-type reportArgumentType
    tokenize(vocab, "text", 4, llama.byref(floats), 4, True, False)  # wrong: arg-type reportArgumentType
    tokenize(vocab, 4, "text", tokens, 4, True, False)  # wrong: arg-type reportArgumentType
    tokenize(vocab, "text", 4, tokens, 4, "yes", False)  # wrong: arg-type reportArgumentType
    llama.llama_detokenize(vocab, b"1234", 1, bytearray(8), 8, True, False)  # wrong: arg-type reportArgumentType
    llama.llama_token_to_piece(vocab, 1, "piece", 5, 0, False)  # wrong: arg-type reportArgumentType
    llama.llama_vocab_get_text(vocab, 1.5)  # wrong: arg-type reportArgumentType
    llama.llama_sampler_init_temp("hot")  # wrong: arg-type reportArgumentType


def structs_and_callbacks(model: llama.llama_model_p, ctx: llama.llama_context_p) -> None:
    params = llama.llama_context_default_params()
    params.n_ctxt = 5  # wrong: attr-defined reportAttributeAccessIssue
    params.n_ctx = "many"  # wrong: assignment reportAttributeAccessIssue
    llama.llama_context_params(n_ctxt=5)  # wrong: call-arg reportCallIssue
    llama.llama_init_from_model(model, llama.llama_model_default_params())  # wrong: arg-type reportArgumentType
    llama.llama_decode(ctx, (llama.llama_token * 4)())  # wrong: arg-type reportArgumentType
    abort = llama.ggml_abort_callback(lambda _: True)
    llama.llama_log_set(abort, None)  # wrong: arg-type reportArgumentType
    llama.llama_log_set(print, None)  # wrong: arg-type reportArgumentType
    llama.llama_progress_callback(lambda progress: True)  # wrong: arg-type misc reportArgumentType


def names(ctx: llama.llama_context_p, model: llama.llama_model_p, vocab: llama.llama_vocab_p) -> None:
    llama.llama_contxt_default_params()  # wrong: attr-defined reportAttributeAccessIssue
    llama.llama_backend_init(True)  # wrong: call-arg reportCallIssue
    llama.llama_decode(ctx)  # wrong: call-arg reportCallIssue
    llama.llama_n_ctx(contxt=ctx)  # wrong: call-arg reportCallIssue
    llama.llama_numa_init(strategy=0)  # wrong: call-overload reportCallIssue
    llama.llama_model_save_to_file(model)  # wrong: call-overload reportCallIssue
    llama.LLAMA_TOKEN_NULL = 5  # wrong: misc
    llama.llama_n_vocab(vocab)  # wrong: deprecated reportDeprecated
