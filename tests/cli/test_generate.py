"""`llamacffi generate` writes what the low-level calls give, and says in one sentence why it cannot."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamacffi import llama_cpp as llama
from support.commands import Call
from support.greedy import likeliest, tokens_of
from support.objects import chain_of, context_of, decode

PROMPT = "the cat"


@pytest.fixture
def generate(call: Call, tiny_path: Path) -> Call:
    return lambda *arguments, **more: call("generate", "-m", tiny_path, "-t", 1, *arguments, **more)


def test_without_temperature_it_writes_the_likeliest_tokens(generate: Call, tiny: Any) -> None:
    said = generate("-p", PROMPT, "-n", 24, "--temp", 0)
    assert said.status == 0
    assert said.out == likeliest(tiny, PROMPT, 24) + "\n"


def test_the_text_may_come_from_a_file_or_a_pipe(generate: Call, tiny: Any, tmp_path: Path) -> None:
    expected = likeliest(tiny, PROMPT, 8) + "\n"
    (tmp_path / "text").write_text(f"{PROMPT}\n")
    assert generate("-f", tmp_path / "text", "-n", 8, "--temp", 0).out == expected
    assert generate("-n", 8, "--temp", 0, stdin=f"{PROMPT}\n").out == expected


def test_a_prompt_of_several_batches_is_the_same_prompt(generate: Call, tiny: Any) -> None:
    text = "a cat the dog " * 8
    assert generate("-p", text, "-n", 8, "--temp", 0, "-b", 5).out == likeliest(tiny, text, 8) + "\n"


def test_the_same_seed_gives_the_same_text(generate: Call) -> None:
    texts = [generate("-p", PROMPT, "-n", 16, "--seed", seed).out for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


def test_the_penalties_count_the_prompt_and_the_text(generate: Call, tiny: Any) -> None:
    """What the chain that is written down here takes, of which each token is told to it."""
    vocab, ctx = llama.llama_model_get_vocab(tiny), context_of(tiny)
    chain = chain_of(
        llama.llama_sampler_init_penalties(llama.llama_vocab_n_tokens(vocab), 64, 1.5, 0.3, 0.2),
        llama.llama_sampler_init_greedy(),
    )
    tokens = tokens_of(tiny, PROMPT)
    for token in tokens:
        llama.llama_sampler_accept(chain, token)
    decode(ctx, tokens)
    written: list[int] = []
    while len(written) < 16 and not llama.llama_vocab_is_eog(
        vocab, token := llama.llama_sampler_sample(chain, ctx, -1)
    ):
        written.append(token)
        decode(ctx, [token])
    pieces = bytearray(1024)
    given = (llama.llama_token * len(written))(*written)
    length = llama.llama_detokenize(vocab, given, len(written), pieces, len(pieces), False, False)
    options = ("--repeat-penalty", 1.5, "--frequency-penalty", 0.3, "--presence-penalty", 0.2, "--temp", 0)
    said = generate("-p", PROMPT, "-n", 16, *options)
    assert said.out.strip() == pieces[:length].decode(errors="replace").strip()
    assert said.out != generate("-p", PROMPT, "-n", 16, "--temp", 0).out


# ---------------------------------------------------------------- what it must follow


def test_a_grammar_is_followed(generate: Call, tmp_path: Path) -> None:
    grammar = 'root ::= ("cat" | "dog") " "? [0-9]{2}'
    (tmp_path / "pets.gbnf").write_text(grammar)
    said = generate("-p", PROMPT, "--grammar", grammar, "--seed", 1)
    assert said.out[:3] in ("cat", "dog")
    assert said.out.strip()[-2:].isdecimal()
    assert generate("-p", PROMPT, "--grammar-file", tmp_path / "pets.gbnf", "--seed", 1).out == said.out


def test_a_json_schema_is_followed(generate: Call, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    said = generate("-p", PROMPT, "-j", json.dumps(schema), "--seed", 1)
    assert isinstance(json.loads(said.out)["age"], int)
    assert generate("-p", PROMPT, "-jf", tmp_path / "schema.json", "--seed", 1).out == said.out


# ---------------------------------------------------------------- models that do not write


@pytest.mark.parametrize("kind", ["bert", "t5"])
@pytest.mark.parametrize("command", ["generate", "chat", "bench", "perplexity"])
def test_a_model_that_does_not_go_on_with_a_text_is_one_sentence(
    command: str, kind: str, call: Call, architecture: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("a cat " * 100)
    more = {"chat": ("--chat-template", "chatml"), "perplexity": (str(tmp_path / "text"), "-c", "16")}.get(command, ())
    said = call(command, "-m", architecture(kind), *more, stdin="a cat\n")
    assert said.status == 1
    assert said.err == (
        "llamacffi: this model does not go on with a text: `llamacffi embed` is for models such as this\n"
    )


# ---------------------------------------------------------------- stderr


def test_the_speed_is_on_stderr(generate: Call, tiny: Any) -> None:
    said = generate("-p", PROMPT, "-n", 5, "--temp", 0)
    number = len(tokens_of(tiny, PROMPT))
    assert said.err.startswith(f"prompt {number} tokens, ")
    assert "; text 5 tokens, " in said.err
    assert said.err.count("\n") == 1


def test_a_full_context_ends_the_text_with_a_sentence(generate: Call) -> None:
    said = generate("-p", PROMPT, "-c", 256, "--grammar", "root ::= [a-z] root")
    assert said.status == 0
    assert "the context is full" in said.err
    assert "--ctx-size" in said.err
    assert " 256 tokens" not in said.err.partition(";")[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-p", "x", "-f", "y"], "not with both"),
        (["-f", "/nowhere"], "/nowhere: No such file or directory"),
        (["-p", "a cat " * 500, "-c", "256"], "and the context 256: give a --ctx-size"),
        (["-p", "x", "--grammar", "root ::= x"], "the grammar is none: "),
        (["-p", "x", "--grammar-file", sys.executable], "is no text in UTF-8"),
        (["-p", "x", "-j", "{"], "the schema is no JSON: "),
        (["-p", "x", "-j", '{"minimum": 3}'], "minimum at # cannot be followed"),
        (["-p", "x", "-j", "{}", "--grammar", 'root ::= "x"'], "not several"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments: list[str], sentence: str, generate: Call) -> None:
    said = generate(*arguments)
    assert (said.status, said.out) == (1, "")
    assert sentence in said.err
    assert said.err.startswith("llamacffi: ")
    assert said.err.count("\n") == 1
