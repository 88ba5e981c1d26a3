"""A tiny model that looks positions up in a table of its own, as GPT-2 does: a position beyond the table is asserted.

ggml asserts it where the graph is computed, on the thread that the token falls to: token `i` of as many tokens as
there are threads falls to thread `i`, and thread 0 is the one that called.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from llamacffi import llama_cpp as llama
from support import objects, tiny_model
from support.tiny_model import N_VOCAB

POSITIONS = 64
WIDTH = 32
TOKEN = 5


def write(path: Path) -> Path:
    """Write the model and return its path."""
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_vocab_size(N_VOCAB)
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-5)
    tiny_model.add_vocabulary(writer)
    random = np.random.default_rng(3)
    for name, size in _tensors().items():
        writer.add_tensor(name, random.normal(0, 0.2, size).astype(np.float32))
    tiny_model.finish(writer)
    return path


def _tensors() -> dict[str, tuple[int, ...]]:
    """Return the size of each tensor; each matrix of a layer has a bias."""
    layers = {
        "output_norm": (WIDTH,),
        "blk.0.attn_norm": (WIDTH,),
        "blk.0.attn_qkv": (3 * WIDTH, WIDTH),
        "blk.0.attn_output": (WIDTH, WIDTH),
        "blk.0.ffn_norm": (WIDTH,),
        "blk.0.ffn_up": (WIDTH, WIDTH),
        "blk.0.ffn_down": (WIDTH, WIDTH),
    }
    biases = {f"{name}.bias": size[:1] for name, size in layers.items()}
    tables = {"token_embd.weight": (N_VOCAB, WIDTH), "position_embd.weight": (POSITIONS, WIDTH)}
    return {**tables, **{f"{name}.weight": size for name, size in layers.items()}, **biases}


def context_of(model: Any, n_threads: int) -> Any:
    """Make a context in which each token of a batch can be of another sequence."""
    return objects.context_of(
        model, n_threads=n_threads, n_threads_batch=n_threads, n_seq_max=n_threads, kv_unified=True
    )


def decode(ctx: Any, n_tokens: int, beyond: Collection[int] = ()) -> int:
    """Decode so many tokens, each the first of its sequence; these have a position beyond the table."""
    batch = llama.llama_batch_init(n_tokens, 0, 1)
    batch.n_tokens = n_tokens
    for i in range(n_tokens):
        batch.token[i], batch.pos[i], batch.logits[i] = TOKEN, POSITIONS if i in beyond else 0, 1
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, i
    try:
        return int(llama.llama_decode(ctx, batch))
    finally:
        llama.llama_batch_free(batch)
