"""Tokens, texts, names and chats that are out of range, NULL, or no text at all."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from ctypes import byref
from typing import Any

import pytest

from llamacffi import LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import refused, returns
from support.checkout import vocabulary_folder
from support.objects import ints, load
from support.tiny_model import N_VOCAB

# ---------------------------------------------------------------- tokens out of range

OUT_OF_RANGE = (-1, N_VOCAB, 10**6, -(2**31))
READ = (
    "llama_vocab_get_text",
    "llama_vocab_get_score",
    "llama_vocab_get_attr",
    "llama_vocab_is_control",
    "llama_token_get_text",
    "llama_token_is_control",
)


@pytest.mark.parametrize("token", OUT_OF_RANGE)
@pytest.mark.parametrize("function", READ)
@refused(LlamaValueError, lambda function, token: rf"{function}\(\): ")
def test_nothing_is_read_of_a_token_out_of_range(function: str, token: int, vocab: Any) -> None:
    getattr(llama, function)(vocab, token)


@pytest.mark.parametrize("token", OUT_OF_RANGE)
@returns(False)
def test_a_token_out_of_range_ends_no_generation(token: int, vocab: Any) -> object:
    return llama.llama_vocab_is_eog(vocab, token)


@refused(LlamaValueError, r"llama_token_to_piece\(\): token .+ must be from 0 to \d+, not 1000000")
def test_a_token_out_of_range_has_no_piece(vocab: Any) -> None:
    llama.llama_token_to_piece(vocab, 10**6, bytearray(8), 8, 0, False)


@refused(LlamaValueError, r"llama_detokenize\(\): tokens .+ holds at 0 the token 1000000")
def test_tokens_out_of_range_make_no_text(vocab: Any) -> None:
    llama.llama_detokenize(vocab, ints(10**6), 1, bytearray(8), 8, False, False)


# ---------------------------------------------------------------- lengths


@pytest.mark.parametrize("length", [-1, -(2**31)])
@refused(LlamaValueError, lambda length: rf"llama_tokenize\(\): text_len .+ must not be negative, not {length}")
def test_a_text_has_no_negative_length(length: int, vocab: Any) -> None:
    llama.llama_tokenize(vocab, b"abc", length, None, 0, True, True)


@refused(LlamaValueError, r"llama_tokenize\(\): n_tokens_max .+ must not be negative, not -5")
def test_a_room_for_tokens_is_not_negative(vocab: Any) -> None:
    llama.llama_tokenize(vocab, b"abc", 3, None, -5, True, True)


@refused(LlamaValueError, r"llama_detokenize\(\): text_len_max .+ must not be negative, not -5")
def test_a_room_for_text_is_not_negative(vocab: Any) -> None:
    llama.llama_detokenize(vocab, ints(5), 1, bytearray(8), -5, False, False)


# ---------------------------------------------------------------- str


@refused(LlamaValueError, r"llama_model_load_from_file\(\): path_model .+ NUL")
def test_a_str_has_no_nul() -> None:
    llama.llama_model_load_from_file("a\0b", llama.llama_model_default_params())


@refused(LlamaValueError, r"llama_model_chat_template\(\): name .+ surrogates not allowed")
def test_a_str_is_utf_8(model: Any) -> None:
    llama.llama_model_chat_template(model, "\udc80")


# ---------------------------------------------------------------- NULL


@refused(LlamaValueError, r"llama_model_load_from_file\(\): path_model .+ must not be NULL")
def test_a_path_is_not_null() -> None:
    llama.llama_model_load_from_file(None, llama.llama_model_default_params())


@refused(LlamaValueError, r"llama_model_load_from_splits\(\): paths .+ holds NULL at 0")
def test_the_path_of_a_split_is_not_null() -> None:
    llama.llama_model_load_from_splits((ctypes.c_char_p * 1)(None), 1, llama.llama_model_default_params())


@refused(LlamaValueError, r"llama_model_meta_val_str\(\): key .+ must not be NULL")
def test_a_key_is_not_null(model: Any) -> None:
    llama.llama_model_meta_val_str(model, None, bytearray(8), 8)


@refused(LlamaValueError, r"llama_load_mode_from_str\(\): str .+ must not be NULL")
def test_the_name_of_a_mode_is_not_null() -> None:
    llama.llama_load_mode_from_str(None)


# ---------------------------------------------------------------- chats


@refused(LlamaValueError, r"llama_chat_apply_template\(\): chat .+ is NULL")
def test_a_chat_is_not_null() -> None:
    llama.llama_chat_apply_template(b"chatml", None, 1, True, None, 0)


@pytest.mark.parametrize("message", [(None, b"x"), (b"user", None)])
@refused(LlamaValueError, r"llama_chat_apply_template\(\): chat .+ holds NULL at 0")
def test_a_message_has_a_role_and_a_content(message: tuple[bytes | None, bytes | None]) -> None:
    llama.llama_chat_apply_template(b"chatml", byref(llama.llama_chat_message(*message)), 1, True, None, 0)


@returns(-1)
def test_a_chat_template_that_is_none_is_not_applied() -> int:
    message = llama.llama_chat_message(b"user", b"x")
    return int(llama.llama_chat_apply_template(b"{{ x" * 10_000, byref(message), 1, True, None, 0))


# ---------------------------------------------------------------- long texts

MEGABYTE = 2**20
SHORTER = 2**15  # and by a thread of 256 KiB, which so many levels of <regex> would overflow all the same
LONG = {
    "spaces": b" ",
    "digits": b"1",
    "one letter": b"a",
    "emoji": "🦙".encode(),
    "newlines": b"\n",
    "words": b"lorem ipsum ",
}
TOO_LONG = "LlamaValueError: llama_tokenize(): text has too long a run for the tokenizer's regular expression"


def survived(call: Callable[[], int]) -> bool:
    """Whether the call counts tokens, or says that its text has too long a run."""
    try:
        return isinstance(call(), int)
    except LlamaValueError as error:
        return f"LlamaValueError: {error}".startswith(TOO_LONG)


@functools.cache
def vocabulary_of(name: str) -> Any:
    return llama.llama_model_get_vocab(load(vocabulary_folder() / name, vocab_only=True))


def tokenizes(vocabulary: str, text: bytes, size: int) -> bool:
    vocab = vocabulary_of(vocabulary)
    given = text * (size // len(text))
    return survived(lambda: int(llama.llama_tokenize(vocab, given, len(given), None, 0, False, False)))


def by_a_small_stack(call: Callable[[], bool]) -> bool:
    results: list[bool] = []
    before = threading.stack_size(256 * 1024)
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    threading.stack_size(before)
    thread.join()
    return results == [True]


VOCABULARIES = [path.name for path in sorted(vocabulary_folder().glob("*.gguf"))]


@pytest.mark.parametrize("text", LONG)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@returns(True)
def test_a_long_text_is_tokenized_or_refused(vocabulary: str, text: str) -> bool:
    """<regex>, by which some of the tokenizers split, recurses by character."""
    return by_a_small_stack(lambda: tokenizes(vocabulary, LONG[text], SHORTER))


@pytest.mark.long
@pytest.mark.parametrize("text", LONG)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@returns(True)
def test_a_text_of_a_megabyte_is_tokenized_or_refused(vocabulary: str, text: str) -> bool:
    return tokenizes(vocabulary, LONG[text], MEGABYTE)


HOSTILE = {
    "nested braces": b"{{" * 200_000 + b"}}" * 200_000,
    "nested blocks": b"{% if a %}" * 100_000,
    "known words": b"<|im_start|>[INST]<<SYS>><|user|>" * 20_000,
    "spaces": b" " * MEGABYTE,
}


@pytest.mark.parametrize("template", HOSTILE)
@returns(True)
def test_a_hostile_template_and_role_are_survived(template: str) -> bool:
    message = llama.llama_chat_message(HOSTILE[template], HOSTILE[template])
    given = (HOSTILE[template], byref(message), 1, True, None, 0)
    return isinstance(llama.llama_chat_apply_template(*given), int)
