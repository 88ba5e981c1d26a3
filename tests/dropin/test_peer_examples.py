"""llama-cpp-python's own examples, out of its archive, go as far as over ctypes, and end there in the same way.

Some of them call what that package itself has no more, and fail there too; then they fail here with the same sentence.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from engines import run_ours, run_theirs

from support.checkout import load_fetch
from support.processes import Ended

pytestmark = pytest.mark.long

# What they are started with; the rest of the examples are servers, or want a hub of models.
ARGUMENTS = {
    "high_level_api/high_level_api_embedding.py": ["-m", "MODEL"],
    "high_level_api/high_level_api_inference.py": ["-m", "MODEL"],
    "high_level_api/high_level_api_infill.py": ["-m", "MODEL"],
    "high_level_api/high_level_api_streaming.py": ["-m", "MODEL"],
    "low_level_api/Chat.py": [],
    "low_level_api/Miku.py": [],
    "low_level_api/ReasonAct.py": [],
    "low_level_api/low_level_api_chat_cpp.py": ["--model", "MODEL", "-n", "4", "--prompt", "Hello"],
    "low_level_api/low_level_api_llama_cpp.py": [],
    "low_level_api/quantize.py": ["TINY", "OUT", "2"],
}
RANDOM = {
    "high_level_api/high_level_api_inference.py",
    "high_level_api/high_level_api_streaming.py",
}  # no seed is given


def examples() -> Path:
    return Path(load_fetch().extract("examples/*")) / "examples"


@pytest.fixture
def outcomes(
    name: str, peer: Path, model_path: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[Ended, bytes]]:
    """How ours and theirs ended, with the file that was written."""
    monkeypatch.setenv("MODEL", str(model_path))

    def go(start: Any, out: Path) -> tuple[Ended, bytes]:
        given = {"MODEL": str(model_path), "TINY": str(tiny_path), "OUT": str(out)}
        arguments = [given.get(argument, argument) for argument in ARGUMENTS[name]]
        ended = start(examples() / name, *arguments, stdin=-3)
        return ended, out.read_bytes() if out.exists() else b""

    return [
        go(run_ours, tmp_path / "ours"),
        go(lambda *command, **options: run_theirs(peer, *command, **options), tmp_path / "theirs"),
    ]


def shown(name: str, printed: str) -> str:
    """What must be the same: no date, no random id, and of a random text its form alone."""
    printed = re.sub(r'"id": "\S+"|"created": \d+|\'created\': \d+|\bseed = \d+', "", printed)
    return re.sub(r"(?<=: )(\".*\"|\d+)", "", printed) if name in RANDOM else printed


def sentence(ended: Ended) -> str:
    """What a program failed with, without CPython's guess of what was meant: among many names it makes none."""
    return ended.stderr.splitlines()[-1].partition(". Did you mean")[0]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_it_ends_as_over_ctypes(name: str, outcomes: list[tuple[Ended, bytes]]) -> None:
    (ours, our_file), (theirs, their_file) = outcomes
    assert ours.returncode == theirs.returncode, ours.stderr
    if theirs.returncode:
        assert sentence(ours) == sentence(theirs)
    elif name not in RANDOM:
        assert shown(name, ours.stdout) == shown(name, theirs.stdout)
    assert our_file == their_file
