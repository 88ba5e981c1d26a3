"""`llamacffi embed` gives for each line what NumPy makes of the embeddings of its tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamacffi import llama_cpp as llama
from support.commands import Call
from support.greedy import tokens_of
from support.objects import context_of, decode

TEXTS = ["a cat", "the dog ate the cat", "x", "a cat"]

Vector = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture
def embed(call: Call, tiny_path: Path) -> Call:
    return lambda *arguments, **more: call("embed", "-m", tiny_path, "-t", 1, *arguments, **more)


def of_tokens(model: Any, text: str) -> Vector:
    """Return the embedding of each token of a text, computed alone."""
    tokens = tokens_of(model, text)
    ctx = context_of(model, embeddings=True, pooling_type=llama.LLAMA_POOLING_TYPE_NONE)
    decode(ctx, tokens)
    width = llama.llama_model_n_embd(model)
    rows = [np.ctypeslib.as_array(llama.llama_get_embeddings_ith(ctx, n), (width,)).copy() for n in range(len(tokens))]
    llama.llama_free(ctx)
    return np.array(rows)


def vectors(out: str) -> list[Vector]:
    return [np.array(json.loads(line)["embedding"], np.float32) for line in out.splitlines()]


def lines(*values: object) -> str:
    return "".join(f"{json.dumps(value)}\n" for value in values)


@pytest.mark.parametrize(
    ("pooling", "reduce"),
    [("mean", lambda rows: rows.mean(0)), ("last", lambda rows: rows[-1]), ("cls", lambda rows: rows[0])],
)
def test_a_text_s_embedding_is_made_of_those_of_its_tokens(pooling: str, reduce: Any, embed: Call, tiny: Any) -> None:
    said = embed("--pooling", pooling, "--embd-normalize", -1, stdin=lines(*TEXTS))
    assert (said.status, said.err) == (0, "")
    for text, vector in zip(TEXTS, vectors(said.out), strict=True):
        np.testing.assert_allclose(vector, reduce(of_tokens(tiny, text)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("kind", "order"), [(2, 2), (1, 1), (3, 3)])
def test_by_default_the_length_is_one_and_another_norm_may_be_asked_for(kind: int, order: int, embed: Call) -> None:
    options = [] if kind == 2 else ["--embd-normalize", kind]
    for vector in vectors(embed(*options, stdin=lines(*TEXTS)).out):
        assert np.linalg.norm(vector, order) == pytest.approx(1, abs=1e-5)


def test_zero_scales_to_16_bit_numbers(embed: Call) -> None:
    (vector,) = vectors(embed("--embd-normalize", 0, "-p", "a cat").out)
    assert np.abs(vector).max() == pytest.approx(32760)


def test_many_texts_come_out_in_their_order_whatever_the_batches_are(embed: Call) -> None:
    texts = [f"{number} cat" for number in range(150)]
    one, other = (embed("-c", size, stdin=lines(*texts)) for size in (512, 32))
    assert [json.loads(line)["text"] for line in one.out.splitlines()] == texts
    np.testing.assert_allclose(vectors(one.out), vectors(other.out), rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["bert", "t5", "mamba"])
def test_a_text_has_the_same_embedding_alone_and_among_others(
    kind: str, call: Call, architecture: Callable[[str], Path]
) -> None:
    command = ("embed", "-m", architecture(kind), "-t", 1)
    together = vectors(call(*command, stdin=lines(*TEXTS)).out)
    alone = [vectors(call(*command, "-p", text).out)[0] for text in TEXTS]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-3)
    assert np.linalg.norm(together[0] - together[1]) > 0.01


def test_what_else_an_object_has_comes_out_with_it(embed: Call) -> None:
    found = json.loads(embed(stdin=lines({"id": 7, "text": "a cat"})).out)
    assert (found["id"], found["text"], len(found["embedding"])) == (7, "a cat", 32)


def test_lines_may_be_plain_text(embed: Call) -> None:
    assert vectors(embed("--lines", stdin="a cat\n").out)[0].tolist() == vectors(embed("-p", "a cat").out)[0].tolist()


@pytest.mark.parametrize(
    ("stdin", "sentence"),
    [
        ("a cat\n", "line 1 of stdin is no JSON"),
        ('"a"\n[1]\n', "line 2 of stdin should be a JSON string"),
        ('{"id": 1}\n', "line 1 of stdin should be a JSON string"),
        (lines("a cat " * 300), "and the context 512: give a --ctx-size"),
    ],
)
def test_a_line_that_cannot_be_embedded_is_one_sentence(stdin: str, sentence: str, embed: Call) -> None:
    said = embed(stdin=stdin)
    assert said.status == 1
    assert sentence in said.err
    assert said.err.count("\n") == 1
