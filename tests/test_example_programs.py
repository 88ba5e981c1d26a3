"""The programs in examples/ do what they say, on the default model."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import gguf
import jinja2
import pytest

from llamacffi import llama_cpp as llama
from support.checkout import ROOT
from support.objects import context_of, ints, logits_of
from support.processes import output_of

EXAMPLES = ROOT / "examples"


def lines_of(name: str, *arguments: str | Path, **options: Any) -> list[str]:
    """Run an example with arguments, and return the lines that it prints."""
    return output_of(sys.executable, EXAMPLES / name, *arguments, **options).splitlines()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_a_program_is_short_and_says_how_it_is_run(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    assert f"python examples/{path.name} [MODEL" in text.partition("\n")[0]


def test_a_chat_goes_by_the_template_and_goes_on(model: Any, model_path: Path) -> None:
    first, second = lines_of("chat.py", model_path, input="Hello!\nSay yes.\n")
    assert first == greedy_answer(model, chat_prompt(model_path, "Hello!"))
    assert second


def chat_prompt(path: Path, question: str) -> bytes:
    """Render the model's template by Jinja, whose language it is written in."""
    template = gguf.GGUFReader(path).fields["tokenizer.chat_template"].contents()
    system = "You are a helpful assistant. Answer in one short sentence."
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    return jinja2.Template(template).render(messages=messages, add_generation_prompt=True).encode()


def greedy_answer(model: Any, prompt: bytes) -> str:
    """Write the likeliest tokens up to the end of the answer."""
    vocab, ctx = llama.llama_model_get_vocab(model), context_of(model, n_threads=4, n_threads_batch=4)
    tokens = ints(*[0] * 256)
    count = llama.llama_tokenize(vocab, prompt, len(prompt), tokens, len(tokens), True, True)
    written, piece = b"", bytearray(64)
    while True:
        llama.llama_decode(ctx, llama.llama_batch_get_one(tokens, count))
        tokens[0], count = int(logits_of(ctx).argmax()), 1
        if llama.llama_vocab_is_eog(vocab, tokens[0]):
            llama.llama_free(ctx)
            return written.decode()
        written += piece[: llama.llama_token_to_piece(vocab, tokens[0], piece, len(piece), 0, False)]


def test_a_stream_ends_before_its_stop_word(model_path: Path) -> None:
    (text,) = lines_of("streaming.py", model_path)
    assert text == "One, two, three, four, five, six, seven, eight, "


def test_sequences_in_parallel_take_fewer_decodes_than_one_after_the_other(model_path: Path) -> None:
    *texts, told = lines_of("parallel_sequences.py", model_path)
    assert {"The opposite of hot is cold.", "The opposite of fast is slow."} <= set(texts)
    number, decodes = map(int, re.findall(r"\d+", told))
    assert len(texts) == number
    assert decodes < 2 * number  # each text has two tokens or more


def test_the_search_finds_the_sentence_about_the_weather(model_path: Path) -> None:
    _, nearest, *_ = lines_of("embeddings_search.py", model_path, "How is the weather?")
    assert nearest.endswith("Rain is expected over the weekend.")


def test_the_schema_gives_json_that_can_be_parsed(model_path: Path) -> None:
    written, told = lines_of("json_grammar.py", model_path)
    assert told == "Anna is 34"
    assert json.loads(written) == {"name": "Anna", "job": "nurse", "city": "Lisbon", "age": 34}


def test_drafts_save_decodes_and_change_nothing(model_path: Path) -> None:
    *runs, same = lines_of("speculative.py", model_path)
    plain, drafted = (int(re.search(r"(\d+) decodes", run)[1]) for run in runs)
    assert drafted < plain / 2
    assert same == "the same tokens: True"


def test_a_session_goes_on_where_it_was_saved(model_path: Path, tmp_path: Path) -> None:
    session = tmp_path / "session.bin"
    begun, first, _ = lines_of("save_and_resume.py", model_path, session)
    resumed, second, _ = lines_of("save_and_resume.py", model_path, session)
    assert (begun.split()[0], resumed.split()[0]) == ("begun", "resumed")
    assert first == "One, two, three, four, five, six, seven,"
    assert second == f"{first} eight, nine, ten,"


def test_the_custom_sampler_leaves_a_letter_out(model_path: Path) -> None:
    text = "\n".join(lines_of("custom_sampler.py", model_path))
    prompt = "This story is about a man and his dog. It was a hot day"
    assert text.startswith(prompt)
    assert len(text) > len(prompt) + 24
    assert "e" not in text.lower()


@pytest.mark.long
def test_fewer_bits_are_a_smaller_file_and_less_like_the_original(model_path: Path) -> None:
    _, original, *made = (line.split() for line in lines_of("quantize_and_compare.py", model_path))
    sizes = {name: float(size) for name, size, *_ in [original, *made]}
    weights = sum(int(tensor.n_bytes) for tensor in gguf.GGUFReader(model_path).tensors)
    assert sizes["original"] == pytest.approx(weights / 1e6, abs=0.1)
    assert sizes["Q4_0"] < sizes["original"] < sizes["Q8_0"]
    divergence = {name: float(columns[-1]) for name, *columns in made}
    assert 0 < divergence["Q8_0"] < divergence["Q4_0"]


def test_a_task_that_is_cancelled_lets_the_others_go_on(model_path: Path) -> None:
    assert lines_of("asyncio_cancel.py", model_path, env=os.environ | {"PYTHONASYNCIODEBUG": "1"}) == [
        "One, two, three, four, five, six,",
        "the long one was cancelled",
        "The capital of France is Paris.",
    ]
