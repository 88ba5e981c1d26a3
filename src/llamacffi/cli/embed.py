"""`llamacffi embed`: the embeddings of texts, as JSON lines.

Each text is a sequence of its own, and as many as fit go into one batch.
"""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from llamacffi import llama_cpp
from llamacffi.cli import CommandError, engine
from llamacffi.cli.options import Engine

DEFAULT_SIZE = 512  # of a batch: what it computes with grows with that
SEQUENCES = 64  # in one batch at most
INT16 = 32760  # what llama.cpp's `--embd-normalize 0` makes the largest number


class Pooling(enum.StrEnum):
    """How the embeddings of a text's tokens become one."""

    mean = "mean"
    cls = "cls"
    last = "last"


Text = Annotated[str | None, typer.Option("-p", "--prompt", metavar="TEXT", help="One text (stdin has many).")]
Lines = Annotated[bool, typer.Option("--lines", help="Take each line of stdin as a text, not as JSON.")]
Pool = Annotated[Pooling | None, typer.Option("--pooling", metavar="KIND", help="mean, cls or last (the model's).")]
Size = Annotated[
    int | None,
    typer.Option("-c", "--ctx-size", metavar="N", min=1, help="Tokens of a text at most, and of a batch (512)."),
]
Normalize = Annotated[
    int,
    typer.Option(
        "--embd-normalize", metavar="N", min=-1, help="-1: not; 0: to int16; 1: taxicab; 2: length; N: p-norm."
    ),
]


def embed(
    *,
    prompt: Text = None,
    lines: Lines = False,
    pooling: Pool = None,
    embd_normalize: Normalize = 2,
    ctx_size: Size = None,
    given: Engine,
) -> None:
    """Write the embeddings of texts, as JSON lines.

    A line of stdin is a JSON string, or an object with a "text", which comes out with its "embedding".
    """
    asked = iter([{"text": prompt}]) if prompt is not None else read(sys.stdin, plain=lines)
    with engine.load(given) as model:
        size = ctx_size or min(DEFAULT_SIZE, llama_cpp.llama_model_n_ctx_train(model))
        fields = {
            "n_batch": size,
            "n_ubatch": size,
            "n_seq_max": min(SEQUENCES, size),
            "kv_unified": True,
            "embeddings": True,
        }
        with engine.context_of(model, given, size, pooling_type=pooling_of(model, pooling), **fields) as context:
            for found, vector in embedded(context, asked):
                line = {**found, "embedding": normalized(vector, embd_normalize)}
                print(json.dumps(line, ensure_ascii=False), flush=True)


def read(lines: Iterable[str], *, plain: bool) -> Iterator[dict[str, Any]]:
    """Yield what is to be embedded, as objects that have a "text"."""
    for number, line in enumerate(lines, 1):
        if plain:
            yield {"text": line.removesuffix("\n")}
        elif line.strip():
            yield parsed(line, number)


def parsed(line: str, number: int) -> dict[str, Any]:
    try:
        given = json.loads(line)
    except json.JSONDecodeError as error:
        raise CommandError(f"line {number} of stdin is no JSON ({error}): --lines takes plain text") from None
    found = {"text": given} if isinstance(given, str) else given
    if not isinstance(found, dict) or not isinstance(found.get("text"), str):
        raise CommandError(f'line {number} of stdin should be a JSON string, or an object with a "text"')
    return found


def pooling_of(model: int, asked: Pooling | None) -> int:
    """Return how tokens' embeddings become one: as asked, as the model has it, or their mean."""
    if asked:
        return int(getattr(llama_cpp, f"LLAMA_POOLING_TYPE_{asked.upper()}"))
    own = engine.metadata(model, f"{engine.metadata(model, 'general.architecture')}.pooling_type")
    if own in (None, str(llama_cpp.LLAMA_POOLING_TYPE_NONE)):
        return int(llama_cpp.LLAMA_POOLING_TYPE_MEAN)
    return int(llama_cpp.LLAMA_POOLING_TYPE_UNSPECIFIED)


# ---------------------------------------------------------------- batches


def embedded(context: int, asked: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], list[float]]]:
    """Yield each object with the embedding of its text, in their order."""
    for batch in batches(context, asked):
        compute(context, [tokens for _, tokens in batch])
        for sequence, (found, _) in enumerate(batch):
            yield found, vector_of(context, sequence)


def batches(context: int, asked: Iterable[dict[str, Any]]) -> Iterator[list[tuple[dict[str, Any], list[int]]]]:
    """Put objects, with the tokens of their texts, into batches that the context can compute."""
    room, most = llama_cpp.llama_n_batch(context), llama_cpp.llama_n_seq_max(context)
    vocab = llama_cpp.llama_model_get_vocab(llama_cpp.llama_get_model(context))
    batch: list[tuple[dict[str, Any], list[int]]] = []
    used = 0
    for found in asked:
        tokens = tokens_of(vocab, found["text"], room)
        if batch and (used + len(tokens) > room or len(batch) == most):
            yield batch
            batch, used = [], 0
        batch.append((found, tokens))
        used += len(tokens)
    if batch:
        yield batch


def tokens_of(vocab: int, text: str, room: int) -> list[int]:
    tokens = engine.tokenize(vocab, text.encode("utf-8", "surrogateescape"))
    if 0 < len(tokens) <= room:
        return tokens
    shown = f"{text[:30]!r}{'…' if len(text) > 30 else ''}"
    if not tokens:
        raise CommandError(f"the text {shown} has no tokens, and so no embedding: leave it out")
    raise CommandError(f"the text {shown} is {len(tokens):,} tokens, and the context {room:,}: give a --ctx-size")


def compute(context: int, texts: list[list[int]]) -> None:
    """Run the model over some texts at once, each a sequence of its own."""
    if memory := llama_cpp.llama_get_memory(context):
        llama_cpp.llama_memory_clear(memory, True)
    batch = llama_cpp.llama_batch_init(sum(map(len, texts)), 0, 1)
    try:
        fill(batch, texts)
        encodes = llama_cpp.llama_model_has_encoder(llama_cpp.llama_get_model(context))
        engine.checked((llama_cpp.llama_encode if encodes else llama_cpp.llama_decode)(context, batch))
    finally:
        llama_cpp.llama_batch_free(batch)


def fill(batch: Any, texts: list[list[int]]) -> None:
    places = ((sequence, position, token) for sequence, text in enumerate(texts) for position, token in enumerate(text))
    for index, (sequence, position, token) in enumerate(places):
        batch.token[index], batch.pos[index], batch.logits[index] = token, position, True
        batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
        batch.n_tokens = index + 1


def vector_of(context: int, sequence: int) -> list[float]:
    length = llama_cpp.llama_model_n_embd_out(llama_cpp.llama_get_model(context))
    vector = llama_cpp.llama_get_embeddings_seq(context, sequence)
    if not vector:
        raise CommandError(f"the model gave no embedding: {engine.reason()}")
    return list(vector[:length])


def normalized(vector: list[float], kind: int) -> list[float]:
    """Scale a vector as llama.cpp's `--embd-normalize` does."""
    if kind < 0:
        return vector
    largest = max(map(abs, vector))
    norm = largest / INT16 if kind == 0 else sum(abs(value) ** kind for value in vector) ** (1 / kind)
    return [value / norm if norm else 0.0 for value in vector]
