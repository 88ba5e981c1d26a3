"""`llamacffi generate`: how a model goes on with a text."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from llamacffi import llama_cpp
from llamacffi.cli import CommandError, engine, terminal
from llamacffi.cli.options import BatchEngine, ContextSize, Prompt, PromptFile, text_of
from llamacffi.cli.sampling import Sampling, chain_of, remember

Predict = Annotated[
    int,
    typer.Option("-n", "--n-predict", metavar="N", min=-1, help="At most N tokens; -1: any."),
]


def generate(
    *,
    prompt: Prompt = None,
    file: PromptFile = None,
    n_predict: Predict = -1,
    ctx_size: ContextSize = None,
    given: BatchEngine,
    sampling: Sampling,
) -> None:
    """Write how a model goes on with a text."""
    text = text_of(prompt, file)
    with engine.load(given) as model:
        vocab = llama_cpp.llama_model_get_vocab(model)
        tokens = prompt_tokens(vocab, text)
        size = engine.context_size(model, ctx_size)
        if len(tokens) > size:
            raise CommandError(f"the prompt is {len(tokens):,} tokens, and the context {size:,}: give a --ctx-size")
        with (
            engine.context_of(model, given, size, n_batch=given.batch_size) as context,
            chain_of(vocab, sampling) as sampler,
        ):
            engine.check_writes(context)
            remember(sampler, tokens)
            seconds = engine.read(context, tokens)
            written = Written()
            try:
                written.show(vocab, engine.sampled(context, vocab, sampler, n_predict))
            finally:
                terminal.remark(f"prompt {terminal.speed(len(tokens), seconds)}; text {written.speed()}")


def prompt_tokens(vocab: int, text: bytes) -> list[int]:
    """Turn the text into tokens, of which there must be one: the first logits come out of it."""
    if tokens := engine.tokenize(vocab, text):
        return tokens
    raise CommandError("the text has no tokens, and this model wants one to begin with: give some text")


class Written:
    """What came out: shown while it comes, counted and timed."""

    def __init__(self) -> None:
        self.text = ""
        self._number = 0
        self._started = time.perf_counter()

    def show(self, vocab: int, tokens: Iterator[int]) -> None:
        """Print the text of the tokens, and where the context is full, say so on stderr."""
        characters = engine.Characters()
        try:
            for self._number, token in enumerate(tokens, 1):
                self._put(characters.add(engine.piece(vocab, token)))
        except engine.ContextFull as full:
            terminal.remark(f"\n{full}")
        finally:
            self._put("\n")

    def _put(self, text: str) -> None:
        self.text += text
        sys.stdout.write(text)
        sys.stdout.flush()

    def speed(self) -> str:
        return terminal.speed(self._number, time.perf_counter() - self._started)
