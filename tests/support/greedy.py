"""What a model makes of a text, by the low-level calls alone: its tokens, and the likeliest way to go on."""

from __future__ import annotations

from typing import Any

from llamacffi import llama_cpp as llama
from support.objects import context_of, decode, logits_of


def tokens_of(model: Any, text: str) -> list[int]:
    tokens = (llama.llama_token * 256)()
    encoded = text.encode()
    vocab = llama.llama_model_get_vocab(model)
    return list(tokens[: llama.llama_tokenize(vocab, encoded, len(encoded), tokens, len(tokens), True, True)])


def likeliest(model: Any, text: str, count: int) -> str:
    """Go on with a text by the likeliest token each time, as a program of NumPy would."""
    ctx, vocab = context_of(model), llama.llama_model_get_vocab(model)
    decode(ctx, tokens_of(model, text))
    written = b""
    for _ in range(count):
        token = int(logits_of(ctx).argmax())
        if llama.llama_vocab_is_eog(vocab, token):
            break
        piece = bytearray(32)
        written += piece[: llama.llama_token_to_piece(vocab, token, piece, len(piece), 0, False)]
        decode(ctx, [token])
    llama.llama_free(ctx)
    return written.decode(errors="replace")
