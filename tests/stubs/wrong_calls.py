"""Calls that are wrong, each with the errors that mypy and pyright have to give on its line."""

from __future__ import annotations

import ctypes

from llamacffi import lib, mtmd_cpp
from llamacffi import llama_cpp as llama


def wrong(
    model: llama.llama_model_p, ctx: llama.llama_context_p, vocab: llama.llama_vocab_p, image: llama.mtmd_context_p
) -> None:
    # another kind of handle
    llama.llama_n_ctx(model)  # mypy: arg-type; pyright: reportArgumentType
    lib.llama_n_ctx(model)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_vocab_n_tokens(model)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_decode(vocab, llama.llama_batch_init(1, 0, 1))  # mypy: arg-type; pyright: reportArgumentType
    mtmd_cpp.mtmd_free(ctx)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_sampler_free(model)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_n_ctx(12345)  # mypy: arg-type; pyright: reportArgumentType
    llama.ggml_threadpool_free(image)  # mypy: arg-type; pyright: reportArgumentType

    # None where C allows none, and what may be None
    llama.llama_n_ctx(None)  # mypy: arg-type; pyright: reportArgumentType
    new = llama.llama_init_from_model(model, llama.llama_context_default_params())
    llama.llama_n_ctx(new)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_token_get_text(
        vocab, 1
    ).decode()  # mypy: union-attr deprecated; pyright: reportOptionalMemberAccess reportDeprecated

    # arrays, numbers, texts, flags
    tokens, floats = (llama.llama_token * 4)(), (ctypes.c_float * 4)()
    llama.llama_tokenize(vocab, "text", 4, floats, 4, True, False)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_tokenize(vocab, "text", 4, bytearray(16), 4, True, False)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_tokenize(vocab, "text", 4, [1, 2], 2, True, False)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_tokenize(
        vocab, 4, "text", tokens, 4, True, False
    )  # mypy: arg-type; pyright: reportArgumentType reportArgumentType
    llama.llama_tokenize(
        vocab, "text", 4, llama.byref(floats), 4, True, False
    )  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_tokenize(vocab, "text", 4, tokens, 4, "yes", False)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_detokenize(
        vocab, b"1234", 1, bytearray(8), 8, True, False
    )  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_token_to_piece(vocab, 1, "piece", 5, 0, False)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_vocab_get_text(vocab, 1.5)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_sampler_init_temp("hot")  # mypy: arg-type; pyright: reportArgumentType

    # structs and callbacks
    params = llama.llama_context_default_params()
    params.n_ctxt = 5  # mypy: attr-defined; pyright: reportAttributeAccessIssue
    params.n_ctx = "many"  # mypy: assignment; pyright: reportAttributeAccessIssue
    llama.llama_context_params(n_ctxt=5)  # mypy: call-arg; pyright: reportCallIssue
    llama.llama_init_from_model(
        model, llama.llama_model_default_params()
    )  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_decode(ctx, tokens)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_log_set(llama.ggml_abort_callback(lambda _: True), None)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_log_set(print, None)  # mypy: arg-type; pyright: reportArgumentType
    llama.llama_progress_callback(lambda progress: True)  # mypy: arg-type misc; pyright: reportArgumentType

    # names and numbers of arguments
    llama.llama_contxt_default_params()  # mypy: attr-defined; pyright: reportAttributeAccessIssue
    llama.llama_backend_init(True)  # mypy: call-arg; pyright: reportCallIssue
    llama.llama_decode(ctx)  # mypy: call-arg; pyright: reportCallIssue
    llama.llama_decode(ctx, batsh=llama.llama_batch_init(1, 0, 1))  # mypy: call-arg; pyright: reportCallIssue
    llama.LLAMA_TOKEN_NULL = 5  # mypy: misc
    llama.llama_n_vocab(vocab)  # mypy: deprecated; pyright: reportDeprecated
