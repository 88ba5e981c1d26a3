"""Tokens and logits are llama.cpp's own: upstream's reference tokens, and a C program on the same static library."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llamacffi import llama_cpp
from support import c_programs
from support.checkout import PROGRAMS, vocabulary_folder
from support.compute_threads import most_threads
from support.objects import load
from support.processes import output_of

SEPARATOR = b"\n__ggml_vocab_test__\n"
PROMPT = "<|im_start|>user\nTell me about the llama, please.<|im_end|>\n<|im_start|>assistant\n"
COUNT = 40
FEW = 16  # tokens, where upstream's threads spin on cores that others may want


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
    model = load(vocabulary, vocab_only=True)
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
        self, folder: Path, program: list[str | Path], model: Path, count: int = COUNT, threads: int = 1
    ) -> None:
        logits = folder / "logits"
        with most_threads(threads):
            printed = output_of(*program, model, PROMPT, str(count), str(threads), logits)
        self.tokens = [int(line) for line in printed.splitlines()]
        self.logits = logits.read_bytes()


OUR_WAITS = b"llamacffi_forget_workers"  # a symbol of the object that has them
PYTHON: list[str | Path] = [sys.executable, PROGRAMS / "greedy.py"]


@pytest.fixture(scope="module")
def greedy_in_c(c_program: Callable[[str], Path]) -> list[str | Path]:
    return [c_program((PROGRAMS / "greedy.c").read_text())]


def test_a_greedy_completion_is_that_of_a_c_program_to_the_last_bit(
    greedy_in_c: list[str | Path], model_path: Path, tmp_path: Path
) -> None:
    in_c = Completion(tmp_path, greedy_in_c, model_path)
    in_python = Completion(tmp_path, PYTHON, model_path)
    assert len(in_c.tokens) == COUNT
    assert in_python.tokens == in_c.tokens
    assert in_python.logits == in_c.logits


@pytest.fixture(scope="module")
def with_upstream_s_waits(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> Completion:
    """What two threads complete in C, waiting for each other as llama.cpp has it."""
    folder = tmp_path_factory.mktemp("upstream")
    code = (PROGRAMS / "greedy.c").read_text()
    program = c_programs.build(code, folder, c_programs.upstream_ggml_cpu(folder))
    assert OUR_WAITS not in program.read_bytes()
    return Completion(folder, [program], model_path, FEW, threads=2)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_waiting_in_another_way_changes_no_bit(
    threads: int, with_upstream_s_waits: Completion, model_path: Path, tmp_path: Path
) -> None:
    in_python = Completion(tmp_path, PYTHON, model_path, FEW, threads)
    assert len(with_upstream_s_waits.tokens) == FEW
    assert in_python.tokens == with_upstream_s_waits.tokens
    assert in_python.logits == with_upstream_s_waits.logits


def test_a_c_program_has_our_waits_unless_it_is_built_with_upstream_s(greedy_in_c: list[str | Path]) -> None:
    """So that the test above compares two ways of waiting, not one with itself."""
    assert OUR_WAITS in Path(greedy_in_c[0]).read_bytes()


def test_a_saved_model_gives_the_same_logits(model_path: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.gguf"
    model = load(model_path, use_extra_bufts=False)  # in the file's order, not this CPU's
    assert llama_cpp.llama_model_save_to_file(model, os.fsencode(saved)) is True
    llama_cpp.llama_model_free(model)
    original, again = (Completion(tmp_path, PYTHON, path) for path in (model_path, saved))
    saved.unlink()  # pytest keeps the folders of three runs
    assert again.tokens == original.tokens
    assert again.logits == original.logits
