"""Where llama.cpp's log goes: stderr as upstream, Python's `logging`, a callback; and what of it is kept."""

from __future__ import annotations

import ctypes
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llamacffi
from llamacffi import ffi, lib, llama_cpp
from support.cells import alone, returns
from support.compute_threads import most_threads
from support.objects import context_of, decode, load
from support.processes import run, run_python

MISSING = Path("/there/is/no/such/file.gguf")


@pytest.fixture(autouse=True)
def restored_log() -> Iterator[None]:
    yield
    llamacffi.log_to(None)


def fail_to_load(path: Path = MISSING) -> None:
    assert load(path) is None


def say(level: int, text: bytes) -> None:
    """Call the callback that is set, as llama.cpp does."""
    callback, user_data = ffi.new("ggml_log_callback *"), ffi.new("void **")
    lib.llama_log_get(callback, user_data)
    callback[0](level, ffi.new("char[]", text), user_data[0])


# ---------------------------------------------------------------- logging


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (lib.GGML_LOG_LEVEL_DEBUG, logging.DEBUG),
        (lib.GGML_LOG_LEVEL_INFO, logging.INFO),
        (lib.GGML_LOG_LEVEL_WARN, logging.WARNING),
        (lib.GGML_LOG_LEVEL_ERROR, logging.ERROR),
        (lib.GGML_LOG_LEVEL_NONE, logging.INFO),
    ],
)
def test_each_level_becomes_logging_s(level: int, expected: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "llama.cpp")
    llamacffi.log_to("llama.cpp")
    say(level, b"something\n")
    assert caplog.record_tuples == [("llama.cpp", expected, "something")]


def test_what_a_failed_load_logs_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    llamacffi.log_to("llama.cpp")
    fail_to_load()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert any(str(MISSING) in text for text in errors)


def test_a_logger_object_is_taken_as_well_as_its_name(caplog: pytest.LogCaptureFixture) -> None:
    llamacffi.log_to(logging.getLogger("mine"))
    say(lib.GGML_LOG_LEVEL_ERROR, b"something\n")
    assert [record.name for record in caplog.records] == ["mine"]


def test_continuations_are_joined_to_one_record(caplog: pytest.LogCaptureFixture) -> None:
    llamacffi.log_to("llama.cpp")
    say(lib.GGML_LOG_LEVEL_WARN, b"one")
    for text in (b", two", b", three", b"\n"):
        say(lib.GGML_LOG_LEVEL_CONT, text)
    assert caplog.record_tuples == [("llama.cpp", logging.WARNING, "one, two, three")]


def test_a_line_without_an_end_is_logged_when_the_next_one_begins(caplog: pytest.LogCaptureFixture) -> None:
    llamacffi.log_to("llama.cpp")
    say(lib.GGML_LOG_LEVEL_WARN, b"unfinished")
    say(lib.GGML_LOG_LEVEL_ERROR, b"next\n")
    assert [(record.levelno, record.message) for record in caplog.records] == [(30, "unfinished"), (40, "next")]


def test_lines_of_two_threads_are_not_mixed(caplog: pytest.LogCaptureFixture) -> None:
    llamacffi.log_to("llama.cpp")
    say(lib.GGML_LOG_LEVEL_WARN, b"here ")
    other = threading.Thread(target=say, args=(lib.GGML_LOG_LEVEL_WARN, b"there\n"))
    other.start()
    other.join()
    say(lib.GGML_LOG_LEVEL_CONT, b"again\n")
    assert [record.message for record in caplog.records] == ["there", "here again"]


def test_bytes_that_are_no_utf8_are_logged_with_a_mark_in_their_place(caplog: pytest.LogCaptureFixture) -> None:
    llamacffi.log_to("llama.cpp")
    say(lib.GGML_LOG_LEVEL_ERROR, b"a\xffb\n")
    assert [record.message for record in caplog.records] == ["a�b"]


def test_a_percent_sign_in_the_text_is_only_text(caplog: pytest.LogCaptureFixture) -> None:
    llamacffi.log_to("llama.cpp")
    say(lib.GGML_LOG_LEVEL_ERROR, b"100%s done\n")
    assert [record.message for record in caplog.records] == ["100%s done"]


def test_a_load_s_progress_dots_are_one_record(caplog: pytest.LogCaptureFixture, tiny_path: Path) -> None:
    """They come one by one, each a continuation."""
    caplog.set_level(logging.DEBUG, "llama.cpp")
    llamacffi.log_to("llama.cpp")
    llama_cpp.llama_model_free(load(tiny_path))
    dots = [record.message for record in caplog.records if record.message.startswith(".")]
    assert len(dots) == 1
    assert set(dots[0]) == {"."}
    assert len(dots[0]) > 1


def test_a_context_that_is_longer_than_the_training_warns(caplog: pytest.LogCaptureFixture, tiny: Any) -> None:
    """llama-cpp-python shows this as information: its levels are off by one."""
    llamacffi.log_to("llama.cpp")
    llama_cpp.llama_free(context_of(tiny, n_ctx=8192))
    assert [record.levelno for record in caplog.records if "n_ctx_train" in record.message] == [logging.WARNING]


def test_log_to_none_ends_the_routing(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    llamacffi.log_to("llama.cpp")
    llamacffi.log_to(None)
    fail_to_load()
    assert caplog.records == []
    assert str(MISSING) in capfd.readouterr().err


def test_nothing_goes_to_stderr_while_logging_has_it(capfd: pytest.CaptureFixture[str]) -> None:
    llamacffi.log_to("llama.cpp")
    fail_to_load()
    assert capfd.readouterr().err == ""


@alone
@returns(0)
def test_a_process_that_logs_to_logging_ends_well(ctx: Any) -> int:
    """llama.cpp logs while it is torn down; Python is gone by then."""
    return decode(ctx)


# ---------------------------------------------------------------- stderr

SAME_IN_C = """
#include "llama.h"
#include "ggml-cpu.h"
int main(int argc, char ** argv) {
    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 256;
    struct llama_context * ctx = llama_init_from_model(model, params);
    llama_get_logits_ith(ctx, 5);
    llama_token tokens[] = {1, 5, 6};
    llama_decode(ctx, llama_batch_get_one(tokens, 3));
    llama_set_n_threads(ctx, 2, 3);
    llama_decode(ctx, llama_batch_get_one(tokens, 1));
    struct ggml_threadpool_params threads = ggml_threadpool_params_default(2);
    struct ggml_threadpool * pool = ggml_threadpool_new(&threads);
    llama_attach_threadpool(ctx, pool, NULL);
    llama_decode(ctx, llama_batch_get_one(tokens, 1));
    llama_detach_threadpool(ctx);
    ggml_threadpool_free(pool);
    llama_decode(ctx, llama_batch_get_one(tokens, 1));
    llama_free(ctx);
    llama_model_free(model);
    llama_model_load_from_file("/there/is/no/such/file.gguf", llama_model_default_params());
    return 0;
}
"""

SAME_IN_PYTHON = """
import ctypes
import sys
from llamacffi import llama_cpp
model = llama_cpp.llama_model_load_from_file(sys.argv[1], llama_cpp.llama_model_default_params())
params = llama_cpp.llama_context_default_params()
params.n_ctx = 256
ctx = llama_cpp.llama_init_from_model(model, params)
llama_cpp.llama_get_logits_ith(ctx, 5)
tokens = (llama_cpp.llama_token * 3)(1, 5, 6)
llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(tokens, 3))
llama_cpp.llama_set_n_threads(ctx, 2, 3)
llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(tokens, 1))
threads = llama_cpp.ggml_threadpool_params_default(2)
pool = llama_cpp.ggml_threadpool_new(ctypes.byref(threads))
llama_cpp.llama_attach_threadpool(ctx, pool, None)
llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(tokens, 1))
llama_cpp.llama_detach_threadpool(ctx)
llama_cpp.ggml_threadpool_free(pool)
llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(tokens, 1))
llama_cpp.llama_free(ctx)
llama_cpp.llama_model_free(model)
llama_cpp.llama_model_load_from_file("/there/is/no/such/file.gguf", llama_cpp.llama_model_default_params())
"""


def test_stderr_says_what_it_says_in_a_c_program(c_program: Callable[[str], Path], tiny_path: Path) -> None:
    """With the default number of threads; that contexts have pools of their own is not told."""
    with most_threads(llama_cpp.llama_context_default_params().n_threads):
        ended = [run(c_program(SAME_IN_C), tiny_path), run_python(SAME_IN_PYTHON, tiny_path)]
    assert [one.returncode for one in ended] == [0, 0]
    expected, said = (re.sub(r"[\d.]+ ms", "… ms", one.stderr).splitlines() for one in ended)
    assert said == expected
    assert len(said) > 100
    assert [one.stdout for one in ended] == ["", ""]
    assert sum("attach_threadpool: call" in line for line in said) == 1


# ---------------------------------------------------------------- callbacks


def test_what_was_set_is_what_is_got() -> None:
    callback = llama_cpp.llama_log_callback(lambda level, text, user_data: None)
    llama_cpp.llama_log_set(callback, 77)
    got, user_data = llama_cpp.llama_log_callback(), ctypes.c_void_p()
    llama_cpp.llama_log_get(ctypes.byref(got), ctypes.byref(user_data))
    assert ctypes.cast(got, ctypes.c_void_p).value == ctypes.cast(callback, ctypes.c_void_p).value
    assert user_data.value == 77


def test_nothing_set_is_got_as_null() -> None:
    llama_cpp.llama_log_set(None, None)
    got, user_data = ffi.new("ggml_log_callback *"), ffi.new("void **")
    lib.llama_log_get(got, user_data)
    assert (got[0], user_data[0]) == (ffi.NULL, ffi.NULL)


def test_what_was_got_can_be_set_again() -> None:
    """How code shields itself for a while from the log: get, set another, set back."""
    said: list[bytes] = []
    callback = llama_cpp.llama_log_callback(lambda level, text, user_data: said.append(text))
    llama_cpp.llama_log_set(callback, None)
    got, user_data = ffi.new("ggml_log_callback *"), ffi.new("void **")
    llama_cpp.llama_log_get(got, user_data)
    other = llama_cpp.llama_log_callback(lambda level, text, user_data: None)
    llama_cpp.llama_log_set(other, None)
    fail_to_load()
    assert said == []
    llama_cpp.llama_log_set(got[0], user_data[0])
    fail_to_load()
    assert bytes(MISSING) in b"".join(said)
    assert callback


def test_a_callback_gets_the_level_the_text_and_the_user_data() -> None:
    seen: list[tuple[int, bytes, int]] = []
    callback = llama_cpp.llama_log_callback(lambda *given: seen.append(given))
    llama_cpp.llama_log_set(callback, 77)
    fail_to_load()
    level, text, user_data = seen[0]
    assert (level, user_data) == (lib.GGML_LOG_LEVEL_ERROR, 77)
    assert bytes(MISSING) in text


# ---------------------------------------------------------------- the last error


def test_the_last_error_says_why_a_model_was_not_loaded() -> None:
    llamacffi.log_to("llama.cpp")
    fail_to_load()
    assert str(MISSING) in llamacffi.last_error()
    assert "No such file" in llamacffi.last_error()


def test_the_last_error_says_why_a_grammar_was_refused(vocab: Any) -> None:
    llamacffi.log_to("llama.cpp")
    assert not llama_cpp.llama_sampler_init_grammar(vocab, b"root ::= foo", b"root")
    assert "Undefined rule identifier 'foo'" in llamacffi.last_error()


def test_the_last_error_is_kept_while_calls_succeed(vocab: Any) -> None:
    llamacffi.log_to("llama.cpp")
    fail_to_load()
    before = llamacffi.last_error()
    llama_cpp.llama_vocab_n_tokens(vocab)
    assert llamacffi.last_error() == before


def test_the_last_error_is_replaced_by_a_later_one() -> None:
    llamacffi.log_to("llama.cpp")
    fail_to_load()
    fail_to_load(Path("/another/file"))
    assert str(MISSING) not in llamacffi.last_error()
    assert "/another/file" in llamacffi.last_error()


def test_the_last_error_is_the_thread_s_own() -> None:
    llamacffi.log_to("llama.cpp")
    fail_to_load()
    seen: list[str] = []

    def work() -> None:
        seen.append(llamacffi.last_error())
        fail_to_load(Path("/another/file"))
        seen.append(llamacffi.last_error())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen[0] == ""
    assert "/another/file" in seen[1]
    assert str(MISSING) in llamacffi.last_error()


def test_the_last_error_needs_no_logger(capfd: pytest.CaptureFixture[str]) -> None:
    fail_to_load()
    assert llamacffi.last_error() in capfd.readouterr().err
