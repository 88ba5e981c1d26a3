"""`llamacffi tokenize` gives upstream's reference tokens, and `llamacffi detokenize` the text again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import tiny_model
from support.checkout import vocabulary_folder
from support.commands import Call, start

NAME = "ggml-vocab-llama-spm.gguf"
SEPARATOR = "\n__ggml_vocab_test__\n"


@pytest.fixture(scope="module")
def spm() -> Path:
    return vocabulary_folder() / NAME


def references() -> list[tuple[str, list[int]]]:
    """Return upstream's texts, and the tokens that they should have."""
    texts = (vocabulary_folder() / f"{NAME}.inp").read_text(encoding="utf-8").split(SEPARATOR)
    lines = (vocabulary_folder() / f"{NAME}.out").read_text(encoding="utf-8").splitlines()
    return [(text, [int(word) for word in line.split()]) for text, line in zip(texts, lines, strict=False)]


def test_the_tokens_are_upstream_s(call: Call, spm: Path) -> None:
    pairs = references()
    assert len(pairs) > 40
    for text, expected in pairs[::6]:
        said = call("tokenize", "-m", spm, "--no-bos", "--no-parse-special", "--ids", "-p", text)
        assert (said.status, json.loads(said.out)) == (0, expected), text


def test_each_line_has_a_number_and_its_piece(call: Call, tiny_path: Path) -> None:
    said = call("tokenize", "-m", tiny_path, "-p", "a")
    word = tiny_model.BYTES + 256 + tiny_model.WORDS.index("▁a")
    assert said.out == f"{tiny_model.BEGIN:6} '<s>'\n{word:6} ' a'\n"


def test_special_names_are_text_if_that_is_asked_for(call: Call, tiny_path: Path) -> None:
    ids = ("tokenize", "-m", tiny_path, "--ids", "--no-bos")
    assert json.loads(call(*ids, "-p", "</s>").out) == [tiny_model.END]
    assert tiny_model.END not in json.loads(call(*ids, "--no-parse-special", "-p", "</s>").out)


def test_what_one_writes_the_other_reads(tiny_path: Path) -> None:
    text = "the cat, 1.5 ünd 😀\n two lines".encode()
    with (
        start("tokenize", "-m", tiny_path, "--ids") as tokenizing,
        start("detokenize", "-m", tiny_path, stdin=tokenizing.stdout) as detokenizing,
    ):
        assert tokenizing.stdin and detokenizing.stdout
        tokenizing.stdin.write(text)
        tokenizing.stdin.close()
        assert detokenizing.stdout.read().lstrip() == text


def test_bytes_that_are_no_text_are_tokens_too(call: Call, tiny_path: Path) -> None:
    said = call("tokenize", "-m", tiny_path, "--no-bos", "-p", b"\xff".decode(errors="surrogateescape"))
    assert f"{tiny_model.BYTES + 0xFF:6} '\\\\xff'" in said.out


@pytest.mark.parametrize("given", ["104 108", "[104, 108]", "104,108", "104\n108\n"])
def test_numbers_may_be_separated_in_several_ways(given: str, call: Call, tiny_path: Path) -> None:
    byte = tiny_model.BYTES
    assert call("detokenize", "-m", tiny_path, stdin=given).out == chr(104 - byte) + chr(108 - byte)
    assert call("detokenize", "-m", tiny_path, *given.split()).out == chr(104 - byte) + chr(108 - byte)


def test_special_tokens_are_written_if_that_is_asked_for(call: Call, tiny_path: Path) -> None:
    assert call("detokenize", "-m", tiny_path, tiny_model.END).out == ""
    assert call("detokenize", "-m", tiny_path, "--special", tiny_model.END).out == "</s>"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [("1 x", "not 'x'"), ("1 2.5", "not '2.5'"), (str(tiny_model.N_VOCAB), f"and not {tiny_model.N_VOCAB}")],
)
def test_what_is_no_token_is_one_sentence(given: str, sentence: str, call: Call, tiny_path: Path) -> None:
    said = call("detokenize", "-m", tiny_path, *given.split())
    assert (said.status, said.out) == (1, "")
    assert sentence in said.err
    assert said.err.count("\n") == 1
