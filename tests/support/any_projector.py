"""Projectors of any kind that mtmd knows, with sizes that may fit and tensors that may be missing, chosen by a seed.

The kinds and the names of keys and tensors are read from upstream's clip-impl.h. `supply` adds what loading says is
missing, so that most are loaded in the end, and fail, if they do, where a graph is made or computed.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from llamacffi import last_error
from support import tiny_model
from support.checkout import load_fetch
from support.media import load_media

WIDTH = tiny_model.Shape().width
PATCH, MEL_BINS = 14, 80
ODD = (0, 1, 2, 3, 7, 255, 65535, 2**31 - 1)
MOST_SUPPLIED = 20  # keys and tensors, each after a load that asked for it
LISTS = re.compile("indexes|pattern_mode|offsets|codebook_size|pinpoints|feature_layer")
VECTORS = re.compile(r"norm|ln|bias|ls[12]|scale|gamma|snake|bn|boi|eoi|newline|image_")
Shape = tuple[int, ...]
MATRICES: list[Shape] = [(WIDTH, WIDTH)] * 8 + [(3 * WIDTH, WIDTH), (WIDTH, 2 * WIDTH), (WIDTH,), (2, WIDTH, WIDTH)]
KERNELS: list[Shape] = [(WIDTH, WIDTH, 3), (WIDTH, 1, 3), (WIDTH, WIDTH), (WIDTH, 1, 3, 3), (WIDTH, WIDTH, 3, 3)]


@functools.cache
def _header() -> str:
    return Path(load_fetch().source_dir(), "tools", "mtmd", "clip-impl.h").read_text(encoding="utf-8")


def kinds() -> list[str]:
    return re.findall(r'\{ PROJECTOR_TYPE_\w+, +"([^"]+)"', _header())


@functools.cache
def tensor_names() -> list[str]:
    patterns = dict.fromkeys(re.findall(r'#define TN_\w+ +"([^"]+)"', _header()))
    return [name for pattern in patterns for name in _expanded(pattern)]


def _expanded(pattern: str) -> Iterator[str]:
    """Put in each layer's number, each encoder's letter, and weight and bias."""
    letters: list[Any] = [("v", "a")] if pattern.startswith("%s") else []
    others = re.findall("%[sd]", pattern)[len(letters) :]
    fillings = letters + [range(2) if one == "%d" else ("weight", "bias") for one in others]
    yield from (pattern % filling for filling in itertools.product(*fillings))


class AnyProjector:
    """One of them."""

    def __init__(self, seed: int, is_whole: bool = False) -> None:
        self.chance = random.Random(seed)
        self.kind = kinds()[seed % len(kinds())]
        self.keys = dict(self._keys())
        kept = 1 if is_whole else self.chance.choice((1, 1, 0.98, 0.9, 0.6))
        foreign = "a." if "clip.has_vision_encoder" in self.keys else "v."
        names = [name for name in tensor_names() if not name.startswith(foreign)]
        self.tensors = {name: self._shape(name) for name in names if self.chance.random() < kept}

    def _keys(self) -> Iterator[tuple[str, Any]]:
        modality = "gen_audio" if self.kind.endswith("_gen") else self.chance.choice(("vision", "audio"))
        yield "clip.projector_type", self.kind
        yield f"clip.has_{modality}_encoder", True
        yield "clip.use_gelu", self.chance.random() < 0.5
        for key in re.findall(r'#define KEY_N_\w+ +"(clip\.%s\.[^"]+)"|#define KEY_PROJ_DIM +"([^"]+)"', _header()):
            name = "".join(key) % modality.replace("_", ".")
            yield name, self._odd(2 if "head_count" in name or "block" in name else WIDTH)
        yield f"clip.{modality.replace('_', '.')}.attention.layer_norm_epsilon", 1e-5
        if modality == "vision":
            yield "clip.vision.image_size", self._odd(self.chance.choice((28, 56, 112)))
            yield "clip.vision.patch_size", self._odd(PATCH)
            yield "clip.vision.image_mean", [0.5] * 3
            yield "clip.vision.image_std", [0.5] * 3
        yield "clip.audio.num_mel_bins", self._odd(MEL_BINS)

    def _odd(self, number: int) -> int:
        return number if self.chance.random() < 0.95 else self.chance.choice(ODD)

    def _value(self, key: str) -> Any:
        if LISTS.search(key):
            return [self.chance.choice((0, 1, 2)) for _ in range(self.chance.choice((1, 2, 4)))]
        return self._odd(self.chance.choice((1, 2, 4)))

    def _shape(self, name: str) -> Shape:
        if re.match(r"v\.(sam\.)?patch_embd\.weight", name):
            return (WIDTH, 3, PATCH, PATCH)
        if name.startswith("a.conv1d.") and name.endswith("weight"):
            return (WIDTH, MEL_BINS if ".1." in name else WIDTH, 3)
        if name.endswith("position_embd.weight"):
            return (self.chance.choice((4, 16, 17, 1500)), WIDTH)
        if VECTORS.search(name):
            return (WIDTH,)
        return self.chance.choice(KERNELS if "conv" in name else MATRICES)

    def load(self, path: Path, model: Any) -> Any:
        """Write it and load it, with what loading asks for; None where it asks for too much, or refuses."""
        for _ in range(MOST_SUPPLIED):
            media = load_media(self.write(path), model)
            if media or not self.supply(last_error()):
                return media
        return None

    def supply(self, error: str) -> bool:
        """Add what loading says is missing; False where it says anything else."""
        if missing := re.search(r"unable to find tensor ([\w.]+)", error):
            return self.tensors.setdefault(missing[1], shape := self._shape(missing[1])) is shape
        if missing := re.search(r"Key not found: ([\w.]+)|key '([\w.]+)' is not an array", error):
            key = missing[1] or missing[2]
            return self.keys.setdefault(key, value := self._value(key)) is value
        return False

    def write(self, path: Path) -> Path:
        writer = gguf.GGUFWriter(path, "clip")
        adding: dict[type, Callable[[str, Any], None]] = {
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
            str: writer.add_string,
            list: writer.add_array,
        }
        for key, value in self.keys.items():
            adding[type(value)](key, value)
        for name, shape in self.tensors.items():
            is_kernel = "conv" in name and len(shape) > 2
            writer.add_tensor(name, np.full(shape, 0.1, np.float16 if is_kernel else np.float32))
        tiny_model.finish(writer)
        return path
