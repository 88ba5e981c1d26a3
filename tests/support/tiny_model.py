"""A random llama model of a few kilobytes, written with the `gguf` package: it loads in milliseconds and decodes.

Its vocabulary is SentencePiece's kind: three special tokens, one token for each byte, and a few words, so every text
has tokens. Nothing of it is llamacffi's own output.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import gguf
import numpy as np

WORDS = ("▁", "▁the", "▁a", "▁cat", "▁dog", "a", "b", "c", "d", "e", "t", "h", "he", "at", "og", "▁d")
BYTES = 3  # the token of byte 0
UNKNOWN, BEGIN, END = range(BYTES)
N_VOCAB = BYTES + 256 + len(WORDS)

Type = gguf.TokenType


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of a model."""

    layers: int = 1
    width: int = 32
    heads: int = 2
    context: int = 4096


LAYERED = Shape(layers=6, width=64)  # some that can be divided


def write(path: Path, shape: Shape = Shape(), seed: int = 1, template: str = "") -> Path:
    """Write the model, with a chat template if one is given, and return its path."""
    writer = gguf.GGUFWriter(path, "llama")
    describe(writer, shape)
    if template:
        writer.add_chat_template(template)
    add_vocabulary(writer)
    _add_tensors(writer, shape, np.random.default_rng(seed))
    finish(writer)
    return path


def finish(writer: gguf.GGUFWriter) -> None:
    """Write what the writer was told, and close its file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("tiny")
    writer.add_vocab_size(N_VOCAB)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(2 * shape.width)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)


def add_vocabulary(writer: gguf.GGUFWriter) -> None:
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS]
    types = [Type.UNKNOWN, Type.CONTROL, Type.CONTROL, *[Type.BYTE] * 256, *[Type.NORMAL] * len(WORDS)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(names)
    writer.add_token_scores([-float(index) for index in range(len(names))])
    writer.add_token_types(types)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_unk_token_id(UNKNOWN)


def _add_tensors(writer: gguf.GGUFWriter, shape: Shape, random: np.random.Generator) -> None:
    for name, size in tensors(shape).items():
        values = np.ones(size) if len(size) == 1 else random.normal(0, 0.2, size)
        writer.add_tensor(name, values.astype(np.float32))


def tensors(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Return the name and the size (in NumPy's order) of each tensor."""
    width, inner = shape.width, 2 * shape.width
    block = {
        "attn_norm": (width,),
        "attn_q": (width, width),
        "attn_k": (width, width),
        "attn_v": (width, width),
        "attn_output": (width, width),
        "ffn_norm": (width,),
        "ffn_gate": (inner, width),
        "ffn_up": (inner, width),
        "ffn_down": (width, inner),
    }
    blocks = {f"blk.{layer}.{name}.weight": size for layer in range(shape.layers) for name, size in block.items()}
    ends = {"token_embd.weight": (N_VOCAB, width), "output_norm.weight": (width,), "output.weight": (N_VOCAB, width)}
    return {**ends, **blocks}
