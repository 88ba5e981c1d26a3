"""Tokens and logits are llama.cpp's own: upstream's reference tokens, and a C program on the same static library."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import run, vocabulary_folder

from llamacffi import llama_cpp

SEPARATOR = b"\n__ggml_vocab_test__\n"
PROMPT = "<|im_start|>user\nTell me about the llama, please.<|im_end|>\n<|im_start|>assistant\n"
COUNT = 40


def vocabularies() -> list[Path]:
    """Name the vocabularies that have reference tokens."""
    return sorted(path.with_suffix("") for path in vocabulary_folder().glob("*.gguf.inp"))


def texts(vocabulary: Path) -> list[bytes]:
    """Split the input file as upstream's tests/test-tokenizer-0.cpp does: nothing follows a last separator."""
    split = vocabulary.with_name(vocabulary.name + ".inp").read_bytes().split(SEPARATOR)
    return split if split[-1] else split[:-1]


def references(vocabulary: Path) -> list[list[int]]:
    lines = vocabulary.with_name(vocabulary.name + ".out").read_text().splitlines()
    return [[int(token) for token in line.split()] for line in lines]


def tokenize(vocab: int, text: bytes) -> list[int]:
    tokens = (llama_cpp.llama_token * (len(text) + 8))()
    count = llama_cpp.llama_tokenize(vocab, text, len(text), tokens, len(tokens), False, False)
    return tokens[:count] if count >= 0 else [count]


@pytest.mark.parametrize("vocabulary", vocabularies(), ids=lambda path: path.stem.removeprefix("ggml-vocab-"))
def test_tokens_are_upstreams_reference_tokens(vocabulary: Path) -> None:
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(os.fsencode(vocabulary), params)
    vocab = llama_cpp.llama_model_get_vocab(model)
    given, expected = texts(vocabulary), references(vocabulary)
    assert len(given) == len(expected) > 0
    assert [tokenize(vocab, text) for text in given] == expected
    llama_cpp.llama_model_free(model)


def test_the_vocabularies_of_upstream_are_not_few() -> None:
    """So that a wrong pattern cannot leave the test above without cases."""
    assert len(vocabularies()) >= 10


class Completion:
    """A greedy completion by a program of tests/programs: the tokens it printed, the last logits it wrote."""

    def __init__(
        self, folder: Path, command: list[str | Path], model: Path, threads: int, prompt: str = PROMPT
    ) -> None:
        logits = folder / f"{Path(command[-1]).name}.{model.name}.{threads}.logits"
        ended = run(*command, model, prompt, str(COUNT), str(threads), logits)
        assert ended.returncode == 0, ended.stderr
        self.tokens = [int(line) for line in ended.stdout.splitlines()]
        self.logits = logits.read_bytes()
