"""Numbers, enums and texts: good ones by the name of the parameter or field, and odd ones."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from random import Random
from typing import Any

from support.tiny_model import N_VOCAB

ODD_INTS = (
    -1,
    0,
    -2,
    1,
    7,
    255,
    65536,
    2**20,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
ODD_FLOATS = (float("nan"), float("inf"), -float("inf"), 1e300, -1.0, 0.0, 1e-45)
SMALL = (0, 1, 2, 3, 4, 8, 16, 32, 64, 256, 1024)
FLOATS = (0.0, 0.1, 0.5, 0.9, 1.0, 2.0, 5.0, -1.0)

Choose = Callable[[Random], Any]


class Unwilling:
    """A number whose conversion raises what only its owner knows."""

    def __index__(self) -> int:
        raise Planned("in __index__")

    def __float__(self) -> float:
        raise Planned("in __float__")

    def __repr__(self) -> str:
        return "Unwilling()"


class Planned(Exception):
    """What the fuzzer's own callbacks raise."""


WRONG_TYPES: tuple[Any, ...] = ("x", None, b"", 1.5, Unwilling(), object, [], 2**70)


def _between(low: int, high: int) -> Choose:
    return lambda random: random.randint(low, high)


def _one_of(*values: Any) -> Choose:
    return lambda random: random.choice(values)


# What a good number is, by its name: the first pattern that matches.
BY_NAME: tuple[tuple[str, Choose], ...] = (
    ("id|token", _between(0, N_VOCAB - 1)),
    ("i|idx|index|il_start|il_end|key_id|tensor_id|buffer_id|split_no", _between(-1, 5)),
    (r".*seq_id.*", _between(0, 2)),
    ("p0|p1|pos|delta", _between(-1, 12)),
    ("d", _between(1, 4)),
    (r"n_threads.*|nthread", _one_of(1, 1, 1, 2)),
    ("embd", _one_of(0, 0, 32)),
    ("n_embd|n_per_row|ne_datapoint", _one_of(32, 32, 256)),
    ("n_rows|nrows|n_seq_max|n_seqs|ne_label|split_count|ndata_shard", _between(1, 3)),
    ("n_ctx|n_batch|n_ubatch", _one_of(32, 64, 64, 256)),
    ("n_ctx_train", _one_of(0, 32)),
    (r"n_vocab", _one_of(N_VOCAB, N_VOCAB, 0, 10)),
    (r"n_outputs_max.*|n_rs_seq|n_gpu_layers|main_gpu|n_samplers|yarn_orig_ctx|device|ibatch|idata.*", _between(0, 1)),
    ("flags", _between(0, 3)),
    ("nx|ny", _one_of(1, 8, 36)),
    (r"image_m.._tokens", _one_of(-1, 0, 16)),
    ("cache_size|mem_size|max_buf_size", _one_of(0, 1024, 65536)),
    ("alignment", _one_of(16, 32, 64)),
    (r"tau|eta|rope_freq_.*|yarn_.*|defrag_thold", _one_of(-1.0, 0.0, 0.1, 1.0, 5.0)),
)


def by_name(name: str, random: Random) -> Any:
    """Return a good value for a number of this name, or None where the name says nothing."""
    for pattern, choose in BY_NAME:
        if re.fullmatch(pattern, name):
            return choose(random)
    return None


@functools.cache
def _usual(ctype: Any) -> list[int]:
    """Leave out the types whose tables take llama.cpp seconds to compute, in each process that asks for them."""
    return [value for value, name in ctype.elements.items() if "_IQ" not in name]


def is_float(ctype: Any) -> bool:
    return str(ctype.cname) in ("float", "double")


def number(name: str, ctype: Any, random: Random) -> Any:
    """Choose a good number."""
    if ctype.kind == "enum":
        return random.choice(_usual(ctype) if random.random() < 0.99 else [*ctype.elements])
    if ctype.cname == "_Bool":
        return random.random() < 0.5
    named = by_name(name, random)
    if is_float(ctype):
        return float(named) if named is not None and random.random() < 0.7 else random.choice(FLOATS)
    return int(named) if named is not None else random.choice(SMALL)


def odd_number(ctype: Any, random: Random) -> Any:
    """Choose an odd number, or what is none; for a struct's field `fits` says whether it can hold it."""
    if random.random() < 0.15:
        return random.choice(WRONG_TYPES)
    return random.choice(ODD_FLOATS) if is_float(ctype) else random.choice(ODD_INTS)
