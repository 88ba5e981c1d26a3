"""Each chapter of docs/tour shows a program, and what it prints.

What the page shows stands there by hand, and is compared with a run on the default model.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from support.checkout import ROOT
from support.processes import output_of

TOUR = ROOT / "docs" / "tour"
PROGRAMS = sorted(path.stem for path in TOUR.glob("*.py"))
SHOWN = re.compile(r"```text\n(.*?)```", re.S)
OF_THE_MACHINE = re.compile(r"(?<=^CPU: )[^,]+|[\d.]+(?= GiB of memory)|(?<=^usable CPUs: )\d+", re.M)


def masked(text: str) -> str:
    """Hide what another machine prints differently."""
    return OF_THE_MACHINE.sub("…", text)


@pytest.mark.parametrize("chapter", PROGRAMS)
def test_a_program_prints_what_its_page_shows(chapter: str, model_path: Path) -> None:
    (shown,) = SHOWN.findall((TOUR / f"{chapter}.md").read_text(encoding="utf-8"))
    environment = os.environ | {"LLAMACFFI_ENGINE": "cpu"}
    printed = output_of(sys.executable, TOUR / f"{chapter}.py", model_path, env=environment)
    assert masked(printed) == masked(shown)


def test_each_chapter_has_a_program_and_stands_in_the_table_of_contents() -> None:
    chapters = sorted(path.stem for path in TOUR.glob("*.md") if path.stem != "index")
    linked = re.findall(r"\]\((\w+)\.md\)", (TOUR / "index.md").read_text(encoding="utf-8"))
    assert chapters == PROGRAMS == sorted(linked)
    for chapter in chapters:
        assert f'--8<-- "docs/tour/{chapter}.py"' in (TOUR / f"{chapter}.md").read_text(encoding="utf-8")
