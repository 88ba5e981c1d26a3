"""`llamacffi tokenize`: the tokens of a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from llamacffi import llama_cpp
from llamacffi.cli import engine
from llamacffi.cli.options import MODEL, Prompt, PromptFile, text_of

Ids = Annotated[bool, typer.Option("--ids", help="Print the numbers alone, as a JSON array.")]
NoBos = Annotated[bool, typer.Option("--no-bos", help="Add no token to the text's beginning or end.")]
NoParse = Annotated[bool, typer.Option("--no-parse-special", help="Take names of special tokens as text.")]


def tokenize(
    prompt: Prompt = None,
    file: PromptFile = None,
    model: Annotated[Path | None, MODEL] = None,
    ids: Ids = False,
    no_bos: NoBos = False,
    no_parse_special: NoParse = False,
) -> None:
    """Show the tokens of a text."""
    text = text_of(prompt, file)
    with engine.loaded(model, vocab_only=True) as loaded:
        vocab = llama_cpp.llama_model_get_vocab(loaded)
        tokens = engine.tokenize(vocab, text, special=not no_bos, parse=not no_parse_special)
        if ids:
            print(json.dumps(tokens))
            return
        for token in tokens:
            print(f"{token:6} {engine.piece(vocab, token, special=True).decode('utf-8', 'backslashreplace')!r}")
