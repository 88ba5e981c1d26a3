"""What the README shows works as it stands there."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

from support.checkout import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.S)


def test_the_decoding_example_completes_the_prompt(model_path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "model.gguf").symlink_to(model_path)
    program = next(text for text in PROGRAMS if "llama_decode" in text)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout


@pytest.mark.parametrize("program", [text for text in PROGRAMS if "llama_decode" not in text])
def test_each_short_example_runs(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)


def test_the_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"\]\(([\w./]+)\)|`((?:docs|benchmarks|third_party)/[\w./]+)`", README))
    missing = {link or path for link, path in named if not (ROOT / (link or path)).exists()}
    assert missing == set()
