"""Measure llamacffi.arrays beside the loops over C's functions in Python that it spares: 2,000 tokens, one process.

Both sides call the same extension and must give the same before they are measured. They take turns in rounds, and the
fastest round of each counts. What needs no loop (`tokenize`, `state`) stands beside the bare call of C's function.
"""

from __future__ import annotations

import argparse
import ctypes
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llamacffi import arrays, default_model
from llamacffi import llama_cpp as llama

COUNT = 2000  # tokens
TEXT = Path(__file__).resolve().parents[1] / "docs" / "safety.md"  # prose, of more tokens than that
SPELL = 0.003  # seconds of one side in a round, at least one call: short beside a time slice of the scheduler

LEAST_SPEEDUP = 10.0  # over a loop


@dataclass(frozen=True)
class Row:
    """One thing to do, in both ways."""

    name: str
    in_python: Callable[[], Any]
    with_arrays: Callable[[], Any]
    least: float | None = LEAST_SPEEDUP  # None where there is no loop


@dataclass(frozen=True)
class World:
    """A model, a context that has decoded the tokens, and what is done with them."""

    model: int
    vocab: int
    ctx: int
    batch: Any
    tokens: np.ndarray[Any, np.dtype[np.int32]]


def open_world(path: Path) -> World:
    ignore = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(ignore, None)
    model = llama.llama_model_load_from_file(bytes(path), llama.llama_model_default_params())
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_batch, params.embeddings = 256, 256, True
    params.n_threads = params.n_threads_batch = 1
    ctx = llama.llama_init_from_model(model, params)
    vocab = llama.llama_model_get_vocab(model)
    tokens = arrays.tokenize(vocab, TEXT.read_text(encoding="utf-8"))[:COUNT]
    batch = llama.llama_batch_init(COUNT, 0, 1)
    arrays.fill_batch(batch, tokens[:64])
    if llama.llama_decode(ctx, batch) != 0:
        raise SystemExit(f"cannot decode with {path}")
    return World(model, vocab, ctx, batch, tokens)


# ---------------------------------------------------------------- in Python


def pieces(world: World) -> list[bytes]:
    room = ctypes.create_string_buffer(256)
    found: list[Any] = []
    for token in world.tokens.tolist():
        size = llama.llama_token_to_piece(world.vocab, token, room, len(room), 0, True)
        found.append(room[:size])
    return found


def fill_batch(world: World) -> None:
    batch = world.batch
    for i, token in enumerate(world.tokens.tolist()):
        batch.token[i] = token
        batch.pos[i] = i
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = 0
        batch.logits[i] = i == len(world.tokens) - 1
    batch.n_tokens = len(world.tokens)


def logits(world: World) -> list[float]:
    row = llama.llama_get_logits_ith(world.ctx, -1)
    return [row[i] for i in range(llama.llama_vocab_n_tokens(world.vocab))]


def best_token(world: World) -> int:
    row = llama.llama_get_logits_ith(world.ctx, -1)
    return max(range(llama.llama_vocab_n_tokens(world.vocab)), key=row.__getitem__)


def embeddings(world: World) -> list[float]:
    row = llama.llama_get_embeddings_ith(world.ctx, -1)
    return [row[i] for i in range(llama.llama_model_n_embd(world.model))]


def text_of(function: Callable[..., int], model: int, i: int) -> str:
    room = ctypes.create_string_buffer(function(model, i, None, 0) + 1)
    function(model, i, room, len(room))
    return room.value.decode()


def metadata(world: World) -> dict[str, str]:
    key, value = llama.llama_model_meta_key_by_index, llama.llama_model_meta_val_str_by_index
    count = llama.llama_model_meta_count(world.model)
    return {text_of(key, world.model, i): text_of(value, world.model, i) for i in range(count)}


def tokenize(world: World, text: bytes) -> Any:
    tokens = (ctypes.c_int32 * (len(text) + 2))()
    count = llama.llama_tokenize(world.vocab, text, len(text), tokens, len(tokens), True, False)
    return np.ctypeslib.as_array(tokens)[:count]


def state(world: World) -> Any:
    size = llama.llama_state_get_size(world.ctx)
    room = (ctypes.c_uint8 * size)()
    llama.llama_state_get_data(world.ctx, room, size)
    return np.ctypeslib.as_array(room)


# ---------------------------------------------------------------- both


def rows(world: World) -> Iterator[Row]:
    w = world
    text = arrays.detokenize(w.vocab, w.tokens)
    yield Row("pieces", lambda: pieces(w), lambda: arrays.pieces(w.vocab, w.tokens, special=True))
    yield Row(
        "detokenize",
        lambda: b"".join(pieces(w)),
        lambda: arrays.detokenize(w.vocab, w.tokens, unparse_special=True),
    )
    yield Row("fill_batch", lambda: fill_batch(w), lambda: arrays.fill_batch(w.batch, w.tokens))
    yield Row("logits, all", lambda: logits(w), lambda: arrays.logits(w.ctx).copy())
    yield Row("logits, the best", lambda: best_token(w), lambda: np.argmax(arrays.logits(w.ctx)))
    yield Row("embeddings", lambda: embeddings(w), lambda: arrays.embeddings(w.ctx).copy())
    yield Row("metadata", lambda: metadata(w), lambda: arrays.metadata(w.model))
    yield Row("tokenize", lambda: tokenize(w, text), lambda: arrays.tokenize(w.vocab, text), None)
    yield Row("state", lambda: state(w), lambda: arrays.state(w.ctx), None)


def same(row: Row) -> None:
    """Refuse to compare the speed of different things; a call without a result has done the same to the batch."""
    one, other = row.in_python(), row.with_arrays()
    if other is not None and not np.array_equal(one, other):
        raise SystemExit(f"{row.name}: not the same in both ways")


def measure(row: Row, rounds: int) -> tuple[float, float]:
    """Return microseconds a call of each side: the fastest round, in turns."""
    sides = [row.in_python, row.with_arrays]
    counts = [max(1, int(SPELL / timeit.timeit(side, number=1))) for side in sides]
    fastest = [float("inf")] * 2
    for _ in range(rounds):
        for at, side in enumerate(sides):
            fastest[at] = min(fastest[at], timeit.timeit(side, number=counts[at]) / counts[at])
    return fastest[0] * 1e6, fastest[1] * 1e6


def show(row: Row, in_python: float, with_arrays: float) -> bool:
    """Print a line of the table, and return whether no target is missed."""
    ratio = in_python / with_arrays
    met = row.least is None or ratio >= row.least
    verdict = "no loop" if row.least is None else f"{'met   ' if met else 'MISSED'}  at least {row.least:.0f}"
    print(f"{row.name:18}{in_python:12.1f}{with_arrays:12.1f}{ratio:10.1f}  {verdict}")
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file (default: the demo's)")
    parser.add_argument("--rounds", type=int, default=200, help="(default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="end with 1 where a target is missed")
    given = parser.parse_args()
    world = open_world(given.model or default_model.model_path())
    print(f"{'microseconds':18}{'in Python':>12}{'arrays':>12}{'ratio':>10}")
    met = True
    for row in rows(world):
        same(row)
        met = show(row, *measure(row, given.rounds)) and met
    raise SystemExit(given.check and not met)


if __name__ == "__main__":
    main()
