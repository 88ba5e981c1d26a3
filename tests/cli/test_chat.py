"""`llamacffi chat`: the model's template, the conversation, its commands, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import pty
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamacffi import llama_cpp as llama
from support import gguf_files, tiny_model
from support.commands import Call, start
from support.greedy import likeliest

FIRST = "<|im_start|>user\na cat<|im_end|>\n<|im_start|>assistant\n"
GREEDY = ("-n", 12, "--temp", 0, "-t", 1)


@pytest.fixture
def path() -> Path:
    """A model whose template is ChatML."""
    return gguf_files.shared("template")


@pytest.fixture
def chat(call: Call, path: Path) -> Call:
    return lambda *arguments, **more: call("chat", "-m", path, *arguments, **more)


def saved(folder: Path) -> Any:
    return json.loads((folder / "talk.json").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- answers


def test_the_message_is_laid_out_as_the_template_says(chat: Call, tiny: Any) -> None:
    said = chat(*GREEDY, stdin="a cat\n")
    assert said.status == 0
    assert said.out == likeliest(tiny, FIRST, 12) + "\n"


def test_an_answer_knows_what_was_said_before(chat: Call, tiny: Any) -> None:
    answer = likeliest(tiny, FIRST, 12)
    then = f"{FIRST}{answer.strip()}<|im_end|>\n<|im_start|>user\na dog<|im_end|>\n<|im_start|>assistant\n"
    assert chat(*GREEDY, stdin="a cat\na dog\n").out == f"{answer}\n{likeliest(tiny, then, 12)}\n"


def test_a_memory_that_cannot_drop_a_part_makes_no_difference(call: Call, architecture: Callable[[str], Path]) -> None:
    """As that of Mamba: what was taken back is computed anew."""
    path = architecture("mamba")
    command = ("chat", "-m", path, "--chat-template", "chatml", *GREEDY)
    once = call(*command, stdin="a cat\n").out
    assert call(*command, stdin="a cat\n/retry\n").out == 2 * once
    assert call(*command, stdin="a dog\n/undo\na cat\n").out.endswith(once)


def test_a_system_prompt_comes_first(chat: Call, tiny: Any) -> None:
    laid_out = f"<|im_start|>system\nbe the dog<|im_end|>\n{FIRST}"
    assert chat(*GREEDY, "-sys", "be the dog", stdin="a cat\n").out == likeliest(tiny, laid_out, 12) + "\n"


def test_a_template_may_be_named(call: Call, tiny_path: Path, tiny: Any) -> None:
    said = call("chat", "-m", tiny_path, "--chat-template", "chatml", *GREEDY, stdin="a cat\n")
    assert said.out == likeliest(tiny, FIRST, 12) + "\n"


# ---------------------------------------------------------------- commands


def test_save_writes_the_conversation_and_load_goes_on_with_it(chat: Call, tiny: Any, tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    whole = chat(*GREEDY, stdin=f"a cat\n/save {file}\na dog\n").out
    answer = likeliest(tiny, FIRST, 12)
    assert saved(tmp_path) == [{"role": "user", "content": "a cat"}, {"role": "assistant", "content": answer.strip()}]
    assert whole == f"{answer}\n" + chat(*GREEDY, stdin=f"/load {file}\na dog\n").out


@pytest.mark.parametrize("commands", ["/retry", "/undo\na cat", "/clear\na cat"])
def test_what_is_taken_back_is_answered_as_if_it_had_not_been(commands: str, chat: Call, tiny: Any) -> None:
    answer = likeliest(tiny, FIRST, 12) + "\n"
    assert chat(*GREEDY, stdin=f"a cat\n{commands}\n").out == 2 * answer


def test_clear_keeps_the_system_prompt(chat: Call, tmp_path: Path) -> None:
    chat(*GREEDY, "-sys", "be brief", stdin=f"a cat\n/clear\n/save {tmp_path / 'talk.json'}\n")
    assert saved(tmp_path) == [{"role": "system", "content": "be brief"}]


def test_quit_ends_before_the_next_line(chat: Call) -> None:
    said = chat(stdin="/quit\na cat\n")
    assert (said.status, said.out) == (0, "")


def test_help_lists_the_commands(chat: Call) -> None:
    said = chat(stdin="/help\n")
    assert [line.split()[0] for line in said.err.splitlines()] == [
        "/help", "/clear", "/retry", "/undo", "/save", "/load", "/quit",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("/nonsense", "/help lists them"),
        ("/retry", "there is no message yet"),
        ("/save", "name a file"),
        ("/load /nowhere", "/nowhere: No such file or directory"),
        ("/load /etc/passwd", "should hold what /save wrote"),
        ("a cat " * 500, "the message is too long for the context of 256 tokens"),
    ],
)
def test_a_mistake_in_a_pipe_is_one_sentence_and_the_status_1(line: str, sentence: str, chat: Call) -> None:
    said = chat("-c", 256, stdin=f"{line}\n")
    assert (said.status, said.out) == (1, "")
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_save_replaces_no_file(chat: Call, tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text("mine")
    said = chat(stdin=f"/save {tmp_path / 'talk.json'}\n")
    assert said.err == f"llamacffi: {tmp_path / 'talk.json'} is there already, and stays as it is: give another name\n"
    assert (tmp_path / "talk.json").read_text() == "mine"


# ---------------------------------------------------------------- templates and room


def test_a_model_without_a_template_says_how_to_name_one(call: Call, tiny_path: Path) -> None:
    said = call("chat", "-m", tiny_path, stdin="a cat\n")
    assert said.status == 1
    assert "--chat-template" in said.err


def test_a_template_that_llama_cpp_does_not_know_is_one_sentence(call: Call, tmp_path: Path) -> None:
    odd = tiny_model.write(tmp_path / "odd.gguf", template="{{ odd }}")
    said = call("chat", "-m", odd, stdin="a cat\n")
    assert said.status == 1
    assert "does not know the model's chat template" in said.err
    assert "chatml" in said.err


def test_a_name_that_is_no_template_is_answered_with_those_that_are(chat: Call) -> None:
    said = chat("--chat-template", "chatlm", stdin="a cat\n")
    assert said.status == 1
    assert "there is no chat template chatlm" in said.err
    assert "chatml" in said.err


def test_where_the_context_is_full_the_oldest_message_is_forgotten(chat: Call, tmp_path: Path) -> None:
    lines = [f"{number} {'a cat ' * 14}".strip() for number in range(6)]
    talk = "\n".join([*lines, f"/save {tmp_path / 'talk.json'}"])
    said = chat("-c", 256, "-sys", "be", *GREEDY, stdin=f"{talk}\n")
    asked = [message["content"] for message in saved(tmp_path) if message["role"] == "user"]
    assert said.status == 0
    assert "the oldest message and its answer are forgotten" in said.err
    assert asked == lines[-len(asked) :]
    assert 0 < len(asked) < len(lines)
    assert saved(tmp_path)[0] == {"role": "system", "content": "be"}


# ---------------------------------------------------------------- a terminal


def test_ctrl_c_stops_an_answer_and_keeps_what_was_written(path: Path, tmp_path: Path) -> None:
    """The grammar lets the model write for ever; then the conversation goes on."""
    file = tmp_path / "talk.json"
    ours, theirs = pty.openpty()
    options = ("-m", path, "--grammar", "root ::= [a-d] root", "-c", 4096)
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with start("chat", *options, **terminal, start_new_session=True) as running:
        os.close(theirs)
        read_until(ours, b"> ")
        os.write(ours, b"a cat\n")
        shown = read_until(ours, b"a cat\r\n")
        while len(shown.rpartition(b"a cat\r\n")[2]) < 8:
            shown += os.read(ours, 4096)
        running.send_signal(signal.SIGINT)
        read_until(ours, b"stopped")
        os.write(ours, f"/save {file}\n".encode())
        read_until(ours, b"2 messages are in")
        os.write(ours, b"/quit\n")
        assert running.wait(60) == 0
    os.close(ours)
    question, answer = saved(tmp_path)
    assert question == {"role": "user", "content": "a cat"}
    assert set(answer["content"]) <= set("abcd")
    assert len(answer["content"]) >= 8


def read_until(terminal: int, sign: bytes) -> bytes:
    """Read what a terminal shows until this is in it."""
    shown, until = b"", time.monotonic() + 60
    while sign not in shown:
        assert time.monotonic() < until, shown
        shown += os.read(terminal, 4096)
    return shown


def test_the_laid_out_text_is_that_of_the_c_function(path: Path) -> None:
    """What the tests above write down is ChatML as llama.cpp has it."""
    message = (llama.llama_chat_message * 1)((b"user", b"a cat"))
    text = bytearray(256)
    length = llama.llama_chat_apply_template(b"chatml", message, 1, True, text, len(text))
    assert text[:length].decode() == FIRST
