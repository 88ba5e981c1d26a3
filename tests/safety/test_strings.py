"""Grammars, trigger patterns, chat templates, texts and names that Hypothesis makes up are survived.

`string_properties.py` has the properties and runs in a process of its own, which a bad string may kill.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from children import run

PROGRAM = Path(__file__).with_name("string_properties.py")
PROPERTIES = ("grammar", "lazy_grammar", "template", "tokens", "names")
SHORT, LONG = 200, 10_000


def assert_held(tiny_path: Path, name: str, examples: int, folder: Path) -> None:
    ended = run(sys.executable, PROGRAM, tiny_path, name, str(examples), folder)
    example = (folder / f"{name}.example").read_text()
    assert ended.returncode == 0, f"{name}: ended with {ended.returncode} at {example}\n{ended.stderr[-3000:]}"
    assert ended.stdout == "held\n"


@pytest.mark.parametrize("name", PROPERTIES)
def test_strings_are_survived(name: str, tiny_path: Path, tmp_path: Path) -> None:
    assert_held(tiny_path, name, SHORT, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", PROPERTIES)
def test_ten_thousand_strings_are_survived(name: str, tiny_path: Path, tmp_path: Path) -> None:
    assert_held(tiny_path, name, LONG, tmp_path)
