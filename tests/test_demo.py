"""`llamacffi demo` shows the machine, the model and its text, and says in one sentence what stopped it.

Each test runs the command in a process of its own, as a user does, with the default model out of the user's cache.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from gguf import GGUFReader

from llamacffi import default_model, llama_cpp

LLAMACFFI = Path(sysconfig.get_path("scripts"), "llamacffi")
EMOJI = "😀 😃 😄 😁 😆"


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LLAMACFFI, *arguments],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"} | environment,
        timeout=300,
        check=False,
    )


def demo(*arguments: str | Path) -> dict[str, str]:
    """Run a demo that must work, and return the text under each of its titles."""
    ended = run("demo", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    parts = re.split(r"^(System|Model|Completion|Speed)\n", ended.stdout, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def value(part: str, name: str) -> str:
    found = re.search(rf"^  {re.escape(name)}  +(.*)$", part, re.M)
    assert found, f"no line {name!r} in {part!r}"
    return found[1]


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    return demo("--tokens", "12")


@pytest.fixture(scope="module")
def file() -> GGUFReader:
    """The default model as the `gguf` package reads it, without llama.cpp."""
    return GGUFReader(default_model.model_path())


def text_of(part: str) -> str:
    return part.strip("\n")


# ---------------------------------------------------------------- what it shows


def test_the_system_part_tells_the_capabilities(shown: dict[str, str]) -> None:
    answer = {True: "yes", False: "no"}
    assert value(shown["System"], "memory mapping") == answer[llama_cpp.llama_supports_mmap()]
    assert value(shown["System"], "memory locking") == answer[llama_cpp.llama_supports_mlock()]
    assert value(shown["System"], "GPU offload") == answer[llama_cpp.llama_supports_gpu_offload()]
    assert value(shown["System"], "device 0")


def test_the_model_part_tells_what_the_file_says(shown: dict[str, str], file: GGUFReader) -> None:
    assert value(shown["Model"], "file") == str(default_model.model_path())
    assert value(shown["Model"], "context") == f"{file.fields['llama.context_length'].contents():,} tokens"
    assert value(shown["Model"], "vocabulary") == f"{len(file.fields['tokenizer.ggml.tokens'].data):,} tokens"
    assert "tokenizer.chat_template" in file.fields
    assert value(shown["Model"], "chat template") == "yes"


def test_size_and_parameters_are_those_of_the_tensors(shown: dict[str, str], file: GGUFReader) -> None:
    size = sum(int(tensor.n_bytes) for tensor in file.tensors)
    parameters = sum(int(tensor.n_elements) for tensor in file.tensors)
    assert value(shown["Model"], "weights") == f"{size / 1e6:,.1f} MB"
    assert value(shown["Model"], "parameters") == f"{parameters / 1e6:,.1f} million"


def test_the_speed_part_counts_prompt_and_generation(shown: dict[str, str]) -> None:
    assert re.fullmatch(r"[1-9]\d* tokens, [\d,.]+ a second", value(shown["Speed"], "prompt"))
    assert re.fullmatch(r"12 tokens, [\d,.]+ a second", value(shown["Speed"], "generation"))


def test_the_completion_begins_with_the_prompt_and_goes_on() -> None:
    text = text_of(demo("--tokens", "12", "--prompt", "The sea is")["Completion"])
    assert text.startswith("The sea is")
    assert len(text) > len("The sea is")


def test_the_same_prompt_gives_the_same_text_again(shown: dict[str, str]) -> None:
    assert demo("--tokens", "12")["Completion"] == shown["Completion"]


def test_model_takes_a_file_of_the_users(shown: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "ein Modell ü.gguf"
    path.symlink_to(default_model.model_path())
    own = demo("--tokens", "12", "--model", path)
    assert value(own["Model"], "file") == str(path)
    assert own["Completion"] == shown["Completion"]


def test_characters_of_several_tokens_come_out_whole() -> None:
    """The model goes on with emojis, and no token of its vocabulary is one of these."""
    completion = text_of(demo("--tokens", "8", "--prompt", EMOJI)["Completion"]).removeprefix(EMOJI)
    assert max(completion) > "\uffff", completion
    assert "\N{REPLACEMENT CHARACTER}" not in completion


# ---------------------------------------------------------------- what stops it


def test_a_missing_model_file_is_one_sentence(tmp_path: Path) -> None:
    ended = run("demo", "--model", tmp_path / "none.gguf")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"llamacffi: {tmp_path / 'none.gguf'} could not be loaded: ")
    assert "No such file or directory" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_file_that_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("This is no model.", encoding="utf-8")
    ended = run("demo", "--model", path)
    assert ended.returncode == 1
    assert re.fullmatch(r"llamacffi: .*text\.gguf could not be loaded: .*magic.*\n", ended.stderr)


def test_without_network_and_model_it_says_so(tmp_path: Path) -> None:
    ended = run("demo", LLAMACFFI_CACHE_DIR=str(tmp_path), PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert ended.returncode == 1
    assert "could not be downloaded" in ended.stderr.splitlines()[0]
    assert "llamacffi demo --model PATH" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--prompt", ""], "the prompt has no tokens"),
        (["--tokens", "1000000"], "the model was trained for 8,192"),
    ],
)
def test_an_impossible_wish_is_one_sentence(arguments: list[str], sentence: str) -> None:
    ended = run("demo", *arguments)
    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_a_count_that_is_none_is_a_usage_error(count: str) -> None:
    ended = run("demo", f"--tokens={count}")
    assert ended.returncode == 2
    assert "--tokens" in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process of a Windows console")
def test_ctrl_c_ends_it_quietly() -> None:
    with subprocess.Popen(
        [LLAMACFFI, "demo", "--tokens", "8000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_ctrl_c,
    ) as running:
        assert running.stdout and running.stderr
        while running.stdout.readline() != b"Completion\n":
            pass
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert (running.returncode, said) == (130, b"")


def test_a_reader_that_had_enough_ends_it_quietly() -> None:
    """As in `llamacffi demo | head -2`."""
    with subprocess.Popen([LLAMACFFI, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout and running.stderr
        running.stdout.close()
        said = running.stderr.read()
    assert (running.returncode, said) == (141, b"")


def heed_ctrl_c() -> None:
    """A process that a shell started in the background ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


# ---------------------------------------------------------------- the command


def test_version_names_the_package_and_the_engine() -> None:
    version = importlib.metadata.version("llamacffi")
    commit = llama_cpp.ggml_commit().decode()
    assert run("--version").stdout == f"llamacffi {version} (llama.cpp {commit})\n"


def test_python_m_is_the_same_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "llamacffi", "--version"], capture_output=True, encoding="utf-8", check=True
    )
    assert ended.stdout == run("--version").stdout
