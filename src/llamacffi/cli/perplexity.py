"""`llamacffi perplexity`: how well a model foretells a text, counted as llama.cpp's own tool does.

The text is cut into chunks of the context's size, each of which begins with the token that begins a text, and the
second half of each chunk counts. ggml computes the probabilities: a loop over the vocabulary takes too long in Python.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

import llamacffi
from llamacffi import llama_cpp
from llamacffi.cli import CommandError, engine, terminal
from llamacffi.cli.options import AS_JSON, BatchEngine, without_last_newline

SURE = 1e-30  # a probability from which on a float is exact enough
OVERHEAD = 2**20  # of a graph, beside the values of its tensors

File = Annotated[Path, typer.Argument(metavar="FILE", help="The text.", show_default=False)]
Size = Annotated[int, typer.Option("-c", "--ctx-size", metavar="N", min=8, help="Tokens of a chunk.")]
Chunks = Annotated[int, typer.Option("--chunks", metavar="N", min=-1, help="At most N chunks; -1: all.")]


class Perplexity(NamedTuple):
    """What came out."""

    perplexity: float
    error: float
    """The standard error."""
    chunks: int
    tokens: int
    """Those that counted."""


def perplexity(
    *, file: File, ctx_size: Size = 512, chunks: Chunks = -1, as_json: AS_JSON = False, given: BatchEngine
) -> None:
    """Measure how well a model foretells a text."""
    text = without_last_newline(file.read_bytes())
    with engine.load(given) as model:
        vocab = llama_cpp.llama_model_get_vocab(model)
        pieces = cut(engine.tokenize(vocab, text, parse=False), ctx_size, chunks)
        with engine.context_of(model, given, ctx_size, n_batch=min(given.batch_size, ctx_size)) as context:
            engine.check_writes(context)
            found = result(list(losses(context, vocab, pieces)), len(pieces))
    if as_json:
        terminal.show_json(found._asdict())
        return
    print(f"perplexity {found.perplexity:.4f} ± {found.error:.5f}")
    terminal.remark(f"{found.chunks} chunks of {ctx_size} tokens; {found.tokens:,} tokens counted")


def cut(tokens: list[int], size: int, most: int) -> list[list[int]]:
    """Cut the text into whole chunks."""
    if len(tokens) < 2 * size:
        raise CommandError(
            f"two chunks of {size} are needed, {2 * size:,} tokens, and the text has {len(tokens):,}: "
            "give a longer text or a smaller --ctx-size"
        )
    starts = range(0, len(tokens) - size + 1, size)
    return [tokens[start : start + size] for start in (starts if most < 0 else starts[:most])]


def result(losses: list[float], chunks: int) -> Perplexity:
    """Make of the losses (minus the logarithm of each token's probability) what is told."""
    number = len(losses)
    mean = math.fsum(losses) / number
    variance = math.fsum(loss * loss for loss in losses) / number - mean * mean
    value = math.exp(mean)
    return Perplexity(value, value * math.sqrt(max(variance, 0) / (number - 1)), chunks, number)


# ---------------------------------------------------------------- chunks


def losses(context: int, vocab: int, chunks: list[list[int]]) -> Iterator[float]:
    """Yield the loss of each token that counts."""
    with terminal.progress("chunks", len(chunks)) as advance:
        for number, chunk in enumerate(chunks, 1):
            yield from losses_of(context, vocab, chunk)
            advance(number)


def losses_of(context: int, vocab: int, chunk: list[int]) -> Iterator[float]:
    """Compute one chunk, in batches, each of which leaves its logits before the next one comes."""
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    begun = [llama_cpp.llama_vocab_bos(vocab), *chunk[1:]] if llama_cpp.llama_vocab_get_add_bos(vocab) else chunk
    size, first = llama_cpp.llama_n_batch(context), len(chunk) // 2
    with batch_of(size) as batch:
        for start in range(0, len(chunk), size):
            part = begun[start : start + size]
            wanted = fill(batch, part, start, first)
            engine.checked(llama_cpp.llama_decode(context, batch))
            targets = chunk[max(start, first) + 1 : start + len(part) + 1]
            if wanted and targets:
                yield from logarithms(context, len(part) - wanted, targets, llama_cpp.llama_vocab_n_tokens(vocab))


@contextlib.contextmanager
def batch_of(size: int) -> Iterator[llama_cpp.llama_batch]:
    batch = llama_cpp.llama_batch_init(size, 0, 1)
    try:
        yield batch
    finally:
        llama_cpp.llama_batch_free(batch)


def fill(batch: llama_cpp.llama_batch, tokens: list[int], start: int, first: int) -> int:
    """Fill the batch with tokens from a position on, and return how many give logits: those from `first` on."""
    batch.n_tokens = len(tokens)
    for index, token in enumerate(tokens):
        batch.token[index], batch.pos[index], batch.logits[index] = token, start + index, start + index >= first
        batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
    return min(len(tokens), max(start + len(tokens) - first, 0))


def logarithms(context: int, first: int, targets: list[int], n_vocab: int) -> Iterator[float]:
    """Yield minus the logarithm of the probability of each target, whose logits begin at this place of the batch."""
    logits = llama_cpp.llama_get_logits_ith(context, first)
    with softmax(logits, n_vocab, len(targets)) as probabilities:
        for row, target in enumerate(targets):
            begin = row * n_vocab
            place = begin + target
            if probabilities[place] < SURE:  # a float has no more of it: go by the likeliest
                place = max(range(begin, begin + n_vocab), key=logits.__getitem__)
            yield logits[place] - logits[begin + target] - math.log(probabilities[place])


@contextlib.contextmanager
def softmax(
    logits: ctypes._Pointer[ctypes.c_float], width: int, rows: int
) -> Iterator[ctypes._Pointer[ctypes.c_float]]:
    """Let ggml compute the softmax of rows that lie behind each other."""
    size = 4 * width * rows
    params = llama_cpp.ggml_init_params(mem_size=3 * size + OVERHEAD, mem_buffer=None, no_alloc=False)
    ggml = llama_cpp.ggml_init(params)
    try:
        given = llama_cpp.ggml_new_tensor_2d(ggml, llama_cpp.GGML_TYPE_F32, width, rows)
        ctypes.memmove(llama_cpp.ggml_get_data(given), logits, size)
        result = llama_cpp.ggml_soft_max(ggml, given)
        graph = llama_cpp.ggml_new_graph(ggml)
        llama_cpp.ggml_build_forward_expand(graph, result)
        llama_cpp.ggml_graph_compute_with_ctx(ggml, graph, llamacffi.usable_cpus())
        yield llama_cpp.ggml_get_data_f32(result)
    finally:
        llama_cpp.ggml_free(ggml)
