"""The kinds of GGUF file that the tests load, all made from the tiny model or with the `gguf` package."""

from __future__ import annotations

import atexit
import functools
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np

from support import learned_positions, tiny_model, tiny_projector

CHAT_TEMPLATE = "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}"
ALIGNMENT = 32
RANK = 4


def write_model(path: Path) -> Path:
    return tiny_model.write(path)


def write_vocabulary(path: Path) -> Path:
    """Cut the tensors off the tiny model."""
    contents = tiny_model.write(path).read_bytes()
    start = gguf.GGUFReader(path).tensors[0].field.offset
    path.write_bytes(contents[:8] + struct.pack("<Q", 0) + contents[16:start])
    return path


def write_model_with_template(path: Path) -> Path:
    """Add a chat template behind the tiny model's metadata."""
    contents = tiny_model.write(path).read_bytes()
    reader = gguf.GGUFReader(path)
    start = reader.tensors[0].field.offset
    pairs = struct.unpack_from("<Q", contents, 16)[0]
    head = contents[:16] + struct.pack("<Q", pairs + 1) + contents[24:start] + template_pair() + tensor_table(reader)
    padding = bytes(-len(head) % ALIGNMENT)
    path.write_bytes(head + padding + contents[reader.data_offset :])
    return path


def template_pair() -> bytes:
    key, value = gguf.Keys.Tokenizer.CHAT_TEMPLATE.encode(), CHAT_TEMPLATE.encode()
    return b"".join([struct.pack("<Q", len(key)), key, struct.pack("<IQ", 8, len(value)), value])


def tensor_table(reader: gguf.GGUFReader) -> bytes:
    return b"".join(part.tobytes() for tensor in reader.tensors for part in tensor.field.parts)


def write_adapter(path: Path) -> Path:
    """Write a LoRA adapter for the tiny model's queries."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0)
    random, width = np.random.default_rng(7), tiny_model.Shape().width
    for half, size in {"lora_a": (RANK, width), "lora_b": (width, RANK)}.items():
        writer.add_tensor(f"blk.0.attn_q.weight.{half}", random.normal(size=size).astype(np.float32))
    tiny_model.finish(writer)
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    "model": write_model,
    "vocabulary": write_vocabulary,
    "template": write_model_with_template,
    "adapter": write_adapter,
    "learned positions": learned_positions.write,
    **{kind: functools.partial(tiny_projector.write, name=kind) for kind in tiny_projector.KINDS},
}


@functools.cache
def shared(kind: str = "model") -> Path:
    """Return a file of that kind which lasts as long as this process; nobody may change it."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return KINDS[kind](Path(folder, f"{kind}.gguf"))
