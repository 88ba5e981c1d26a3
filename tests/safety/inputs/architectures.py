"""Tiny models of all architectures that llama.cpp makes of one set of numbers: what it asks of each it says itself.

A model is made of the metadata alone, which tells which tensors it has; they are then written with the `gguf` package.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from llamacffi import LlamaError
from llamacffi import llama_cpp as llama
from support import tiny_model

N_VOCAB, WIDTH = 4, 8

# By the names of the writer's methods; an architecture reads those that it knows.
NUMBERS = {
    "vocab_size": N_VOCAB,
    "context_length": 64,
    "embedding_length": WIDTH,
    "block_count": 1,
    "feed_forward_length": WIDTH,
    "head_count": 2,
    "head_count_kv": 2,
    "layer_norm_rms_eps": 1e-5,
    "layer_norm_eps": 1e-5,
    "rope_dimension_count": 4,
    "expert_count": 2,
    "expert_used_count": 1,
    "expert_feed_forward_length": WIDTH,
    "expert_shared_count": 1,
    "expert_shared_feed_forward_length": WIDTH,
    "leading_dense_block_count": 0,
    "sliding_window": 4,
    "ssm_conv_kernel": 2,
    "ssm_inner_size": 16,
    "ssm_state_size": 4,
    "ssm_time_step_rank": 2,
    "ssm_group_count": 1,
    "shortconv_l_cache": 2,
    "wkv_head_size": 4,
    "time_mix_extra_dim": 4,
    "time_decay_extra_dim": 4,
    "decay_lora_rank": 4,
    "iclr_lora_rank": 4,
    "value_residual_mix_lora_rank": 4,
    "gate_lora_rank": 4,
    "group_norm_eps": 1e-5,
    "group_norm_groups": 1,
    "q_lora_rank": 4,
    "kv_lora_rank": 4,
    "key_length": 4,
    "value_length": 4,
    "key_length_mla": 6,
    "value_length_mla": 4,
}


# The tensors' names and sizes are wanted, not what they hold.
leave_as_it_is = llama.llama_model_set_tensor_data_t(lambda tensor, data: None)


def described(path: Path, architecture: str, numbers: Mapping[str, Any]) -> gguf.GGUFWriter:
    """Begin a file with the metadata."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_tokenizer_model("no_vocab")
    for name, value in {**NUMBERS, **numbers}.items():
        getattr(writer, f"add_{name}")(value)
    return writer


def tensors_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the names and sizes (in NumPy's order) of the tensors that a model with this metadata must have."""
    params = llama.gguf_init_params(no_alloc=True, ctx=None)
    metadata = llama.gguf_init_from_file(os.fsencode(path), params)
    try:
        return _tensors_of(metadata, path)
    finally:
        llama.gguf_free(metadata)


def _tensors_of(metadata: Any, path: Path) -> dict[str, tuple[int, ...]]:
    model = llama.llama_model_init_from_user(metadata, leave_as_it_is, None, llama.llama_model_default_params())
    if not model:
        return {}
    llama.llama_model_save_to_file(model, os.fsencode(path))
    llama.llama_model_free(model)
    sizes = {tensor.name: tuple(map(int, reversed(tensor.shape))) for tensor in gguf.GGUFReader(path).tensors}
    return {name: size for name, size in sizes.items() if not name.endswith("scale")}  # which no model needs


def write(path: Path, architecture: str, **numbers: Any) -> bool:
    """Write a model of the architecture; return whether llama.cpp makes one of it."""
    tiny_model.finish(described(path, architecture, numbers))
    try:
        tensors = tensors_of(path)
    except (LlamaError, OSError):  # what it cannot save is no file
        return False
    writer = described(path, architecture, numbers)
    for name, size in tensors.items():
        writer.add_tensor(name, np.ones(size, np.float32))
    tiny_model.finish(writer)
    return bool(tensors)


def all_of_them(path: Path) -> Iterator[bytes]:
    for architecture in sorted(set(gguf.MODEL_ARCH_NAMES.values())):
        if write(path, architecture):
            yield path.read_bytes()
