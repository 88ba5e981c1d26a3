"""Grammars, trigger patterns, chat templates, texts and names that Hypothesis makes up are survived.

Each example is printed before it is tried, so that it is the last one that a dead child has said.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import signal
import sys
from collections.abc import Callable
from ctypes import byref
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamacffi import LlamaError, LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import returns
from support.objects import candidates, load, strings
from support.tiny_model import N_VOCAB

HANG = 20  # seconds for one example
SHORT, LONG = 200, 10_000


@functools.cache
def model() -> Any:
    return load()


def vocab() -> Any:
    return llama.llama_model_get_vocab(model())


# Pieces that these little languages are made of, so that more than noise is tried.
GBNF = (
    *("root ::= ", "a ::= ", "b ::= ", "\n", " | ", '"a"', '"', "[", "]", "^", "a-z", "(", ")", "*", "+", "?", "{"),
    *("}", "{1,3}", "{2}", "{,5}", "{999}", "root", "a", "b", ".", "\\", "\\x", "\\u00e9", "#", "<", ">", "<[5]>", "!"),
)
REGEX = ("(", ")", "[", "]", "*", "+", "?", "{", "}", "{1,3}", "|", "^", "$", ".", "\\", "\\d", "a", "b", "(?:", "(?=")
JINJA = (
    *("{{", "}}", "{%", "%}", "message", "['role']", ".content", "<|im_start|>", "<|im_end|>", "[INST]", "<|user|>"),
    *("<|start_header_id|>", "<start_of_turn>", "GPT4 Correct", "bos_token", "<<SYS>>", "\n", " for ", "chatml"),
)
NAMES = ("chatml", "llama2", "mistral-v7", "phi3", "gemma", "zephyr", "monarch", "vicuna", "deepseek3", "command-r")


def language(pieces: tuple[str, ...]) -> st.SearchStrategy[str]:
    part = st.one_of(st.sampled_from(pieces), st.sampled_from(pieces), st.text(max_size=3))
    return st.lists(part, max_size=40).map("".join)


def nested(pairs: tuple[tuple[str, str], ...], core: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Nest a text deeply in pairs of brackets, of which the closing ones may be fewer."""

    def build(given: tuple[tuple[str, str], str, int, int]) -> str:
        (left, right), middle, opened, closed = given
        return left * opened + middle + right * closed

    depth = st.sampled_from((0, 1, 100, 5_000, 20_000))
    return st.tuples(st.sampled_from(pairs), core, depth, depth).map(build)


GROUPS = (("(", ")"), ("((", "))"), ('("a" ', ")"), ("(a | ", ")"), ("(", ")?"), ("(", "){0,2}"))
REGEX_GROUPS = (("(", ")"), ("(?:", ")"), ("(a|", ")"), ("(", ")?"), ("[a", "]"), ("(?=", ")"))


def no_nul(text: str) -> bool:
    return "\0" not in text


def use_sampler(sampler: Any) -> None:
    if not sampler:
        return
    array = candidates(N_VOCAB)
    try:
        llama.llama_sampler_apply(sampler, byref(array))
        for token in (100, 270, 2):
            llama.llama_sampler_accept(sampler, token)
    except LlamaError:
        pass  # a token that the grammar does not take
    finally:
        llama.llama_sampler_free(sampler)


# ---------------------------------------------------------------- properties


def grammar(text: str) -> None:
    """A grammar is a sampler, or None, or a LlamaError."""
    with contextlib.suppress(LlamaError):
        use_sampler(llama.llama_sampler_init_grammar(vocab(), "root ::= " + text, "root"))


def lazy_grammar(texts: tuple[str, str]) -> None:
    """A trigger pattern is taken or a LlamaError."""
    patterns = strings(texts[1].encode())
    given = (vocab(), "root ::= " + texts[0], "root", patterns, 1, None, 0)
    with contextlib.suppress(LlamaError):
        use_sampler(llama.llama_sampler_init_grammar_lazy_patterns(*given))


def template(texts: tuple[str, list[tuple[str, str]]]) -> None:
    """A chat template gives a length, whatever the buffer's, and writes what fits."""
    chat = [llama.llama_chat_message(role.encode(), content.encode()) for role, content in texts[1]]
    messages = (llama.llama_chat_message * len(chat))(*chat)
    needed = llama.llama_chat_apply_template(texts[0], messages, len(chat), True, None, 0)
    for size in (1, 16, max(1, needed)):
        given = (texts[0], messages, len(chat), True, bytearray(size), size)
        assert llama.llama_chat_apply_template(*given) == needed


def tokens(text: str | bytes) -> None:
    """Tokenizing without room says how many tokens there are; with it, writes as many."""
    length = len(text.encode()) if isinstance(text, str) else len(text)
    needed = -llama.llama_tokenize(vocab(), text, length, None, 0, True, True)
    made = (ctypes.c_int32 * needed)()
    assert llama.llama_tokenize(vocab(), text, length, made, needed, True, True) == needed
    room = bytearray(8 * length + 64)
    assert llama.llama_detokenize(vocab(), made, needed, room, len(room), False, True) >= 0


def names(text: str) -> None:
    """A name that is not there is None or -1; one that C cannot hold is a LlamaValueError."""
    calls = (
        lambda: llama.llama_model_meta_val_str(model(), text, bytearray(8), 8) == -1,
        lambda: llama.llama_model_chat_template(model(), text) is None,
        lambda: llama.llama_model_load_from_file("/nonexistent/" + text, llama.llama_model_default_params()) is None,
        lambda: llama.llama_adapter_lora_init(model(), "/nonexistent/" + text) is None,
        lambda: llama.llama_split_path(bytearray(16), 16, text, 1, 2) >= 0,
    )
    for call in calls:
        try:
            assert call()
        except LlamaValueError:
            assert any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


MESSAGES = st.lists(
    st.tuples(st.sampled_from(("user", "system", "assistant", "x")), st.text().filter(no_nul)), max_size=4
)

PROPERTIES: dict[str, tuple[Callable[[Any], None], st.SearchStrategy[Any]]] = {
    "grammar": (grammar, language(GBNF).filter(no_nul)),
    "nested_grammar": (grammar, nested(GROUPS, language(GBNF).filter(no_nul))),
    "nested_pattern": (lazy_grammar, st.tuples(st.just('"a"'), nested(REGEX_GROUPS, language(REGEX).filter(no_nul)))),
    "lazy_grammar": (lazy_grammar, st.tuples(*(language(kind).filter(no_nul) for kind in (GBNF, REGEX)))),
    "template": (template, st.tuples(language((*JINJA, *NAMES)).filter(no_nul) | st.sampled_from(NAMES), MESSAGES)),
    "tokens": (tokens, st.text().filter(no_nul) | st.binary()),
    "names": (names, st.text(st.characters())),
}


def hold(name: str, examples: int) -> None:
    check, strategy = PROPERTIES[name]

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def run(example: Any) -> None:
        print(ascii(example), file=sys.stderr)
        signal.alarm(HANG)
        check(example)

    run()


@pytest.mark.parametrize("name", PROPERTIES)
@returns(None)
def test_strings_are_survived(name: str) -> None:
    hold(name, SHORT)


@pytest.mark.long
@pytest.mark.parametrize("name", PROPERTIES)
@returns(None)
def test_ten_thousand_strings_are_survived(name: str) -> None:
    hold(name, LONG)
