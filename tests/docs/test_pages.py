"""The programs that the documentation shows print what it says they print.

A page's blocks of Python are one program, and its blocks of text are what that prints on the default model.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from support.checkout import ROOT
from support.processes import output_of

DOCS = ROOT / "docs"
TOUR = sorted(path.stem for path in (DOCS / "tour").glob("*.py"))
PAGES = ["getting_started", "types", "arrays", "errors", "threads", *(f"tour/{chapter}" for chapter in TOUR)]
OF_THE_MACHINE = re.compile(r"(?<=^CPU: )[^,]+|[\d.]+(?= GiB of memory)|(?<=^usable CPUs: )\d+", re.M)


def text_of(page: str) -> str:
    """Read a page, with the programs in it that are files."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return re.sub(r'--8<-- "(.+)"', lambda line: (ROOT / line[1]).read_text(encoding="utf-8"), text)


def blocks(language: str, text: str) -> str:
    return "".join(re.findall(rf"```{language}\n(.*?)```", text, re.S))


def masked(text: str) -> str:
    """Hide what another machine prints differently."""
    return OF_THE_MACHINE.sub("…", text)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_its_program_prints(page: str, model_path: Path, tmp_path: Path) -> None:
    text = text_of(page)
    (tmp_path / "model.gguf").symlink_to(model_path)
    (tmp_path / "page.py").write_text(blocks("python", text), encoding="utf-8")
    environment = os.environ | {"LLAMACFFI_ENGINE": "cpu"}  # which says what devices there are
    printed = output_of(sys.executable, "page.py", model_path, cwd=tmp_path, env=environment)
    assert masked(printed) == masked(blocks("text", text))


def test_the_tour_lists_its_chapters() -> None:
    listed = re.findall(r"\]\((\w+)\.md\)", (DOCS / "tour" / "index.md").read_text(encoding="utf-8"))
    pages = {path.stem for path in (DOCS / "tour").glob("*.md")} - {"index"}
    assert sorted(listed) == sorted(pages) == TOUR
