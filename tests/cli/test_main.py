"""What all commands have in common: help, usage, pipes, Ctrl-C, colours, completion; and how they do without Typer."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llamacffi.cli import app
from support.checkout import ROOT
from support.commands import LLAMACFFI, Call, start
from support.processes import Ended, run, run_python

COMMANDS = [command.__name__.replace("_", "-") for command in app.COMMANDS]
WITHOUT_TYPER = """
import sys
sys.modules["typer"] = None
from llamacffi.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


# ---------------------------------------------------------------- help and usage


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_fits_a_screen_and_ends_with_an_example(name: str, call: Call) -> None:
    said = call(name, "--help")
    lines = said.out.splitlines()
    assert said.status == 0
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert lines[-1].strip().startswith(f"Example: llamacffi {name}")


def test_the_help_lists_each_command_with_a_whole_sentence(call: Call) -> None:
    said = call("--help")
    for name in (*COMMANDS, *app.WITHOUT_TYPER):
        assert re.search(rf"^  {name} +\S.*[^.]\.$", said.out, re.M), name


def test_the_documentation_shows_each_command() -> None:
    text = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert re.search(rf"^.*\$ .*llamacffi {name}", text, re.M), name


def test_no_command_shows_the_help(call: Call) -> None:
    assert call() == call("--help")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["generte"], "No such command 'generte'. Did you mean 'generate'?"),
        (["generate", "--tmp", "0"], "No such option: --tmp"),
        (["generate", "--temp", "warm"], "'--temp'"),
        (["inspect"], "Missing argument 'MODEL'"),
        (["bench", "-r", "0"], "'--repetitions'"),
        (["embed", "--pooling", "sum"], "'--pooling'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_the_status_2(arguments: list[str], sentence: str, call: Call) -> None:
    said = call(*arguments)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("llamacffi: ")
    assert sentence in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", ["generate", "chat", "tokenize", "embed", "bench"])
def test_a_model_that_is_not_there_is_one_sentence_and_the_status_1(name: str, call: Call, tmp_path: Path) -> None:
    said = call(name, "-m", tmp_path / "none.gguf", stdin="text")
    assert (said.status, said.out) == (1, "")
    assert f"{tmp_path / 'none.gguf'} could not be loaded: " in said.err
    assert said.err.count("\n") == 1


def test_without_a_model_the_sentence_says_how_to_get_one(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMACFFI_CACHE_DIR", str(tmp_path))
    said = call("tokenize", "-p", "x")
    assert (said.status, said.out) == (1, "")
    assert "--model FILE" in said.err
    assert "llamacffi demo" in said.err


def test_verbose_shows_what_llama_cpp_logs(tiny_path: Path) -> None:
    ended = run(LLAMACFFI, "-v", "tokenize", "-p", "x", "--ids", "-m", tiny_path)
    assert (ended.returncode, ended.stdout[0]) == (0, "[")
    assert "llama_model_loader: " in ended.stderr


def test_options_of_all_commands_may_stand_before_those_that_need_no_typer() -> None:
    code = "import sys; print(sys.argv)"
    assert run(LLAMACFFI, "-v", "run", "-", "--more", "-x", input=code).stdout == "['-', '--more', '-x']\n"
    assert run(LLAMACFFI, "-v", "demo", "--tokens", "0").returncode == 2


# ---------------------------------------------------------------- the extra


@pytest.mark.parametrize("arguments", [["info"], ["generate", "-p", "x"], ["nonsense"], []])
def test_without_the_extra_the_commands_that_need_it_say_what_to_install(arguments: list[str]) -> None:
    ended = run_python(WITHOUT_TYPER, *arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "pip install 'llamacffi[cli]'" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["demo", "adopt", "run"])
def test_without_the_extra_the_others_work(name: str) -> None:
    ended = run_python(WITHOUT_TYPER, name, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"llamacffi {name}" in ended.stdout


def test_the_package_and_the_plain_commands_import_neither_typer_nor_rich() -> None:
    modules = "llamacffi.cli.demo, llamacffi.cli.adopt, llamacffi.cli.run"
    assert run_python(f"import sys, {modules}\nprint({{'rich', 'typer'}} & {{*sys.modules}})").stdout == "set()\n"


# ---------------------------------------------------------------- pipes and terminals


def in_a_terminal(*command: object, **environment: str) -> str:
    """Return what a command prints on a terminal."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", **environment}
    with subprocess.Popen([*map(str, command)], stdin=theirs, stdout=theirs, stderr=theirs, env=env):
        os.close(theirs)
        parts = []
        try:
            while part := os.read(ours, 4096):
                parts.append(part)
        except OSError:  # Linux has it so where the other end is closed
            pass
    os.close(ours)
    return b"".join(parts).decode()


def test_a_terminal_gets_colours_unless_no_color_is_set() -> None:
    assert "\x1b[" in in_a_terminal(LLAMACFFI, "info")
    assert "\x1b[3" not in in_a_terminal(LLAMACFFI, "info", NO_COLOR="1")


def test_a_terminal_gets_progress_and_a_pipe_gets_none(tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a cat and a dog " * 200)
    command = (LLAMACFFI, "generate", "-m", tiny_path, "-f", tmp_path / "text", "-n", "1")
    shown, ended = in_a_terminal(*command), run(*command)
    for bar in ("loading", "reading the prompt"):
        assert re.search(rf"{bar} .*100%", shown)
        assert bar not in ended.stdout + ended.stderr


def test_a_pipe_gets_plain_lines_without_trailing_blanks(call: Call) -> None:
    said = call("info")
    assert said.status == 0
    assert "\x1b" not in said.out
    assert [line for line in said.out.splitlines() if line != line.rstrip()] == []


@pytest.fixture
def endless(tiny_path: Path) -> tuple[object, ...]:
    """A command that writes until its context is full, which takes a while."""
    return "generate", "-p", "a cat", "-c", 4096, "-m", tiny_path, "--grammar", "root ::= [a-d] root"


def test_ctrl_c_ends_a_command_with_130_and_what_was_written_stays(endless: tuple[object, ...]) -> None:
    with start(*endless, preexec_fn=heed_ctrl_c) as running:
        assert running.stdout
        first = running.stdout.read(1)
        running.send_signal(signal.SIGINT)
        rest, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert re.fullmatch(rb"[a-d]+\n", first + rest)
    assert re.fullmatch(rb"prompt .* a second; text .* a second\n", said)


def heed_ctrl_c() -> None:
    """A process that a shell started in the background ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_reader_that_had_enough_ends_a_command_quietly(endless: tuple[object, ...]) -> None:
    with start(*endless) as running:
        assert running.stdout and running.stderr
        running.stdout.read(1)
        running.stdout.close()
        said = running.stderr.read().decode()
    assert running.returncode == 141
    assert "Error" not in said


# ---------------------------------------------------------------- completion


def completed(words: str, position: int) -> Ended:
    """Ask as bash's completion does."""
    asked = {"_LLAMACFFI_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    return run(LLAMACFFI, env={**os.environ, **asked})


@pytest.mark.parametrize(
    ("words", "position", "expected"),
    [
        ("llamacffi tok", 1, ["tokenize"]),
        ("llamacffi d", 1, ["demo", "detokenize"]),
        ("llamacffi generate --top", 2, ["--top-k", "--top-p"]),
        ("llamacffi quantize in out Q4_K", 4, ["Q4_K_M", "Q4_K_S"]),
    ],
)
def test_the_shell_completes_commands_options_and_values(words: str, position: int, expected: list[str]) -> None:
    assert sorted(completed(words, position).stdout.split()) == expected


def test_python_m_is_named_in_no_help() -> None:
    """The program has one name, whichever way it was started."""
    ended = run(sys.executable, "-m", "llamacffi", "info", "--help")
    assert ended.stdout.startswith("Usage: llamacffi info")
