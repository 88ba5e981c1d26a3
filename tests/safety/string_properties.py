"""Give llama.cpp strings that Hypothesis makes up: `string_properties.py MODEL PROPERTY EXAMPLES FOLDER`.

Each example stands in `FOLDER/PROPERTY.example` while it is tried, for whoever finds this process dead.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import sys
from collections.abc import Callable
from ctypes import byref
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "border")]

import world  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from llamacffi import LlamaError, LlamaValueError  # noqa: E402
from llamacffi import llama_cpp as L  # noqa: E402

HANG = 20  # seconds

MODEL = world.load()
VOCAB = L.llama_model_get_vocab(MODEL)

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


def no_nul(text: str) -> bool:
    return "\0" not in text


def use_sampler(sampler: Any) -> None:
    if not sampler:
        return
    array = world.candidates(275)
    try:
        L.llama_sampler_apply(sampler, byref(array))
        for token in (100, 270, 2):
            L.llama_sampler_accept(sampler, token)
    except LlamaError:
        pass  # a token that the grammar does not take
    finally:
        L.llama_sampler_free(sampler)


# ---------------------------------------------------------------- properties


def grammar(text: str) -> None:
    """A grammar is a sampler, or None, or a LlamaError."""
    with contextlib.suppress(LlamaError):
        use_sampler(L.llama_sampler_init_grammar(VOCAB, "root ::= " + text, "root"))


def lazy_grammar(texts: tuple[str, str]) -> None:
    """A trigger pattern is taken or a LlamaError."""
    patterns = world.strings(texts[1].encode())
    given = (VOCAB, "root ::= " + texts[0], "root", patterns, 1, None, 0)
    with contextlib.suppress(LlamaError):
        use_sampler(L.llama_sampler_init_grammar_lazy_patterns(*given))


def template(texts: tuple[str, list[tuple[str, str]]]) -> None:
    """A chat template gives a length, whatever the buffer's, and writes what fits."""
    chat = [L.llama_chat_message(role.encode(), content.encode()) for role, content in texts[1]]
    messages = (L.llama_chat_message * len(chat))(*chat)
    needed = L.llama_chat_apply_template(texts[0], messages, len(chat), True, None, 0)
    for size in (1, 16, max(1, needed)):
        given = (texts[0], messages, len(chat), True, bytearray(size), size)
        assert L.llama_chat_apply_template(*given) == needed


def tokens(text: str | bytes) -> None:
    """Tokenizing without room says how many tokens there are; with it, writes as many."""
    length = len(text.encode()) if isinstance(text, str) else len(text)
    needed = -L.llama_tokenize(VOCAB, text, length, None, 0, True, True)
    made = (ctypes.c_int32 * needed)()
    assert L.llama_tokenize(VOCAB, text, length, made, needed, True, True) == needed
    room = bytearray(8 * length + 64)
    assert L.llama_detokenize(VOCAB, made, needed, room, len(room), False, True) >= 0


def names(text: str) -> None:
    """A name that is not there is None or -1; one that C cannot hold is a LlamaValueError."""
    calls = (
        lambda: L.llama_model_meta_val_str(MODEL, text, bytearray(8), 8) == -1,
        lambda: L.llama_model_chat_template(MODEL, text) is None,
        lambda: L.llama_model_load_from_file("/nonexistent/" + text, L.llama_model_default_params()) is None,
        lambda: L.llama_adapter_lora_init(MODEL, "/nonexistent/" + text) is None,
        lambda: L.llama_split_path(bytearray(16), 16, text, 1, 2) >= 0,
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
    "lazy_grammar": (lazy_grammar, st.tuples(*(language(kind).filter(no_nul) for kind in (GBNF, REGEX)))),
    "template": (template, st.tuples(language((*JINJA, *NAMES)).filter(no_nul) | st.sampled_from(NAMES), MESSAGES)),
    "tokens": (tokens, st.text().filter(no_nul) | st.binary()),
    "names": (names, st.text(st.characters())),
}


def main() -> None:
    name, examples, folder = sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    check, strategy = PROPERTIES[name]
    note = folder / f"{name}.example"

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def run(example: Any) -> None:
        note.write_text(ascii(example))
        faulthandler.dump_traceback_later(HANG, exit=True)
        check(example)
        faulthandler.cancel_dump_traceback_later()

    run()
    print("held")


if __name__ == "__main__":
    main()
