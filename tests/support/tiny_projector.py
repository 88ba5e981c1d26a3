"""Random projectors of some kilobytes for the tiny llama: two for images, as LLaVA's and Gemma 3's, one for sound.

Written with the `gguf` package, by the names that llama.cpp's tools/mtmd/clip-impl.h has. Nothing of it is llamacffi's
own output.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import gguf
import numpy as np

from support import tiny_model

WIDTH, INNER, HEADS, LAYERS = 16, 32, 2, 2
PATCH = 14
MEL_BINS, STACKED, FRAMES = 80, 10, 1500  # of Whisper's encoder: positions of 30 seconds

Sizes = dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Kind:
    """What `write` makes a projector of: its sizes in NumPy's order, beside the layers that all have."""

    modality: str
    prefix: str
    tensors: Sizes
    side: int = 0  # of an image, in pixels
    tokens: int = 0  # of an image


def _vision(side: int) -> Sizes:
    return {"v.patch_embd.weight": (WIDTH, 3, PATCH, PATCH), "v.position_embd.weight": ((side // PATCH) ** 2, WIDTH)}


def _widths(text: int) -> dict[str, Kind]:
    """The kinds, for a text model of that width."""
    mlp = {"mm.0.weight": (INNER, WIDTH), "mm.0.bias": (INNER,), "mm.2.weight": (text, INNER), "mm.2.bias": (text,)}
    gemma3 = {
        "v.patch_embd.bias": (WIDTH,),
        "v.post_ln.weight": (WIDTH,),
        "v.post_ln.bias": (WIDTH,),
        "mm.input_projection.weight": (WIDTH, text),
        "mm.soft_emb_norm.weight": (WIDTH,),
    }
    ultravox = {
        "a.position_embd.weight": (FRAMES, WIDTH),
        "a.conv1d.1.weight": (WIDTH, MEL_BINS, 3),
        "a.conv1d.1.bias": (WIDTH, 1),
        "a.conv1d.2.weight": (WIDTH, WIDTH, 3),
        "a.conv1d.2.bias": (WIDTH, 1),
        "a.post_ln.weight": (WIDTH,),
        "a.post_ln.bias": (WIDTH,),
        "mm.a.mlp.1.weight": (2 * INNER, STACKED * WIDTH),
        "mm.a.mlp.2.weight": (text, INNER),
        "mm.a.norm_pre.weight": (STACKED * WIDTH,),
        "mm.a.norm_mid.weight": (INNER,),
    }
    return {
        "mlp": Kind("vision", "v", _vision(56) | mlp, side=56, tokens=16),
        "gemma3": Kind("vision", "v", _vision(112) | gemma3, side=112, tokens=4),
        "ultravox": Kind("audio", "a", ultravox),
    }


KINDS = _widths(tiny_model.Shape().width)


def write(path: Path, name: str, text_width: int = tiny_model.Shape().width, seed: int = 1) -> Path:
    """Write a projector of `KINDS` for a text model of that width, and return its path."""
    kind = _widths(text_width)[name]
    writer = gguf.GGUFWriter(path, "clip")
    _describe(writer, name, kind, text_width)
    random = np.random.default_rng(seed)
    for tensor, size in {**kind.tensors, **_layers(kind.prefix)}.items():
        values = np.ones(size) if tensor.endswith(("ln1.weight", "ln2.weight")) else random.normal(0, 0.2, size)
        writer.add_tensor(tensor, values.astype(np.float16 if "conv1d" in tensor and len(size) > 2 else np.float32))
    tiny_model.finish(writer)
    return path


def _describe(writer: gguf.GGUFWriter, name: str, kind: Kind, text_width: int) -> None:
    writer.add_string("clip.projector_type", name)
    writer.add_bool(f"clip.has_{kind.modality}_encoder", True)
    writer.add_bool("clip.use_gelu", True)
    sizes = {
        "embedding_length": WIDTH,
        "feed_forward_length": INNER,
        "block_count": LAYERS,
        "projection_dim": text_width,
    }
    for key, value in {**sizes, "attention.head_count": HEADS}.items():
        writer.add_uint32(f"clip.{kind.modality}.{key}", value)
    writer.add_float32(f"clip.{kind.modality}.attention.layer_norm_epsilon", 1e-5)
    if kind.side:
        writer.add_uint32("clip.vision.image_size", kind.side)
        writer.add_uint32("clip.vision.patch_size", PATCH)
        writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
        writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    else:
        writer.add_uint32("clip.audio.num_mel_bins", MEL_BINS)
        writer.add_uint32("clip.audio.projector.stack_factor", STACKED)


def _layers(prefix: str) -> Sizes:
    parts: Sizes = {"ffn_up.weight": (INNER, WIDTH), "ffn_up.bias": (INNER,)}
    parts |= {"ffn_down.weight": (WIDTH, INNER), "ffn_down.bias": (WIDTH,)}
    parts |= {f"attn_{part}.weight": (WIDTH, WIDTH) for part in ("q", "k", "v", "out")}
    parts |= {f"attn_{part}.bias": (WIDTH,) for part in ("q", "v", "out")}  # Whisper's keys have none
    parts |= {f"ln{number}.{part}": (WIDTH,) for number in (1, 2) for part in ("weight", "bias")}
    return {f"{prefix}.blk.{layer}.{name}": size for layer in range(LAYERS) for name, size in parts.items()}
