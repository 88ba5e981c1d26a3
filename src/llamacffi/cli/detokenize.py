"""`llamacffi detokenize`: the text of tokens."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from llamacffi import llama_cpp
from llamacffi.cli import CommandError, engine
from llamacffi.cli.options import MODEL

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[TOKEN]...", help="Numbers, also as JSON (stdin).", show_default=False)
]
Special = Annotated[bool, typer.Option("--special", help="Write special tokens too, by their names.")]


def detokenize(ids: Ids = None, model: Annotated[Path | None, MODEL] = None, special: Special = False) -> None:
    """Write the text of tokens.

    A pipe gets its bytes, and nothing else.
    """
    tokens = numbers(" ".join(ids) if ids else sys.stdin.read())
    with engine.loaded(model, vocab_only=True) as loaded:
        vocab = llama_cpp.llama_model_get_vocab(loaded)
        check(vocab, tokens)
        text = engine.detokenize(vocab, tokens, special=special)
    sys.stdout.buffer.write(text + (b"\n" if sys.stdout.isatty() else b""))


def numbers(text: str) -> list[int]:
    """Read numbers that spaces, commas and brackets may separate."""
    words = re.sub(r"[\s,\[\]]+", " ", text).split()
    wrong = [word for word in words if not word.isdecimal()]
    if wrong:
        raise CommandError(f"tokens are numbers from 0, separated by spaces or commas, not {wrong[0]!r}")
    return [int(word) for word in words]


def check(vocab: int, tokens: list[int]) -> None:
    known = llama_cpp.llama_vocab_n_tokens(vocab)
    if tokens and max(tokens) >= known:
        raise CommandError(f"the vocabulary has the tokens 0 to {known - 1:,}, and not {max(tokens)}")
