"""Packages from the index that call llama-cpp-python, run unchanged by `llamacffi run`.

Needs the packages of the extra `dropin`: `pip install '.[test,dropin]' && pytest -m long tests/dropin`. None of
them installs llama-cpp-python by itself.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from engines import HERE, run_ours, run_theirs

from support.processes import Ended

pytestmark = pytest.mark.long


@functools.cache
def told(program: str, model: Path) -> Any:
    return read(run_ours(HERE / "users" / program, model))


def read(ended: Ended) -> Any:
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_guidance(model_path: Path) -> None:
    facts = told("with_guidance.py", model_path)
    assert facts["city"].startswith(" Paris")
    assert facts["answer"] in ("yes", "no")
    assert re.fullmatch(r"\d{3}", facts["number"])


def test_langchain(model_path: Path) -> None:
    facts = told("with_langchain.py", model_path)
    assert facts["city"].startswith(" Paris")
    assert "".join(facts["pieces"]).startswith(" four, five")
    assert len(facts["vector"]) == 576


def test_outlines(model_path: Path) -> None:
    facts = told("with_outlines.py", model_path)
    assert facts["answer"] in ("yes", "no")
    assert re.fullmatch(r"[0-9]{3}", facts["number"])


@pytest.mark.parametrize("program", ["with_guidance.py", "with_langchain.py", "with_outlines.py"])
def test_they_get_what_they_get_over_ctypes(program: str, model_path: Path, peer: Path) -> None:
    theirs = run_theirs(peer, HERE / "users" / program, model_path)
    assert told(program, model_path) == read(theirs)
