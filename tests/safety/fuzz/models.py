"""Random models of a few kilobytes, one of each kind of memory that llama.cpp has, and the files beside them.

llama keeps keys and values; mamba keeps a recurrent state; jamba keeps both, and has experts; t5 has an encoder before
its decoder; bert keeps nothing and gives embeddings. All share the vocabulary of support/tiny_model.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np

from support import gguf_files, tiny_model, tiny_projector
from support.tiny_model import N_VOCAB

WIDTH, INNER, HEADS, CONTEXT = 32, 64, 2, 512
CONVOLUTION, STATE, RANK, EXPERTS, BUCKETS = 4, 8, 4, 2, 8

Sizes = dict[str, tuple[int, ...]]

NORM, SQUARE = (WIDTH,), (WIDTH, WIDTH)
ATTENTION: Sizes = {f"attn_{part}.weight": SQUARE for part in ("q", "k", "v", "output")}
SSM: Sizes = {
    "ssm_in.weight": (2 * INNER, WIDTH),
    "ssm_conv1d.weight": (INNER, CONVOLUTION),
    "ssm_conv1d.bias": (INNER,),
    "ssm_x.weight": (RANK + 2 * STATE, INNER),
    "ssm_dt.weight": (INNER, RANK),
    "ssm_dt.bias": (INNER,),
    "ssm_a": (INNER, STATE),
    "ssm_d": (INNER,),
    "ssm_out.weight": (WIDTH, INNER),
}
SSM_NORMS: Sizes = {"ssm_dt_norm.weight": (RANK,), "ssm_b_norm.weight": (STATE,), "ssm_c_norm.weight": (STATE,)}
EXPERT_LAYER: Sizes = {
    "ffn_gate_inp.weight": (EXPERTS, WIDTH),
    "ffn_gate_exps.weight": (EXPERTS, INNER, WIDTH),
    "ffn_down_exps.weight": (EXPERTS, WIDTH, INNER),
    "ffn_up_exps.weight": (EXPERTS, INNER, WIDTH),
}
FEED_FORWARD: Sizes = {"ffn_up.weight": (INNER, WIDTH), "ffn_down.weight": (WIDTH, INNER)}
ENDS: Sizes = {"output.weight": (N_VOCAB, WIDTH), "output_norm.weight": NORM}


def _with_norms(*names: str) -> Sizes:
    return {f"{name}.{part}": NORM for name in names for part in ("weight", "bias")}


def _block(prefix: str, *parts: Sizes) -> Sizes:
    return {f"{prefix}.{name}": size for part in parts for name, size in part.items()}


def _mamba() -> Sizes:
    return ENDS | _block("blk.0", {"attn_norm.weight": NORM}, SSM)


def _jamba() -> Sizes:
    norms: Sizes = {"attn_norm.weight": NORM, "ffn_norm.weight": NORM}
    recurrent = _block("blk.0", norms, SSM, SSM_NORMS, EXPERT_LAYER)
    return ENDS | recurrent | _block("blk.1", norms, ATTENTION, EXPERT_LAYER)


def _t5() -> Sizes:
    norms: Sizes = {"attn_norm.weight": NORM, "ffn_norm.weight": NORM}
    own: Sizes = {"attn_rel_b.weight": (BUCKETS, HEADS), **{f"attn_{part}.weight": SQUARE for part in "qkvo"}}
    cross: Sizes = {"cross_attn_norm.weight": NORM, **{f"cross_attn_{part}.weight": SQUARE for part in "qkvo"}}
    ends: Sizes = {"output.weight": (N_VOCAB, WIDTH), "enc.output_norm.weight": NORM, "dec.output_norm.weight": NORM}
    encoder = _block("enc.blk.0", norms, own, FEED_FORWARD)
    return ends | encoder | _block("dec.blk.0", norms, own, cross, FEED_FORWARD)


def _bert() -> Sizes:
    ends: Sizes = {"position_embd.weight": (CONTEXT, WIDTH), "token_types.weight": (2, WIDTH)}
    layer = _block("blk.0", ATTENTION, FEED_FORWARD, _with_norms("attn_output_norm", "layer_output_norm"))
    return ends | _with_norms("token_embd_norm") | layer


TENSORS: dict[str, Callable[[], Sizes]] = {"mamba": _mamba, "jamba": _jamba, "t5": _t5, "bert": _bert}


def _describe(writer: gguf.GGUFWriter) -> None:
    """Write the numbers that these models need; what one of them does not look for does it no harm."""
    hybrid = writer.arch == "jamba"
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(2 if hybrid else 1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv([0, HEADS] if hybrid else HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_layer_norm_eps(1e-5)
    writer.add_ssm_conv_kernel(CONVOLUTION)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    writer.add_expert_count(EXPERTS if hybrid else 0)
    writer.add_expert_used_count(1 if hybrid else 0)
    writer.add_relative_attn_buckets_count(BUCKETS)
    writer.add_decoder_start_token_id(0)
    writer.add_token_type_count(2)
    if writer.arch == "bert":
        writer.add_causal_attention(False)
        writer.add_pooling_type(gguf.PoolingType.MEAN)


def write(path: Path, architecture: str) -> Path:
    """Write a model of one of the architectures in `TENSORS`."""
    writer = gguf.GGUFWriter(path, architecture)
    _describe(writer)
    tiny_model.add_vocabulary(writer)
    random = np.random.default_rng(1)
    sizes = {"token_embd.weight": (N_VOCAB, WIDTH), **TENSORS[architecture]()}
    for name, size in sizes.items():
        writer.add_tensor(name, random.normal(0, 0.2, size).astype(np.float32))
    tiny_model.finish(writer)
    return path


def write_all(folder: Path) -> list[Path]:
    """Write a model of each architecture, the tiny model's vocabulary, template and adapter, and projectors for it.

    Returns:
        The models.
    """
    others = {kind: make for kind, make in gguf_files.KINDS.items() if kind != "model"}
    for kind, make in others.items():
        make(folder / f"{kind}.gguf")
    for name in tiny_projector.KINDS:
        tiny_projector.write(folder / f"{name}.gguf", name)
    written = [write(folder / f"{name}.gguf", name) for name in TENSORS]
    return [tiny_model.write(folder / "llama.gguf"), *written]
