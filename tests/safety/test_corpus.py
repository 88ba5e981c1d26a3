"""The inputs that coverage-guided fuzzing kept are survived: each one's end is a result or an exception of ours.

The corpus is made by `nox -s inputs`; inputs/replay.py hands it to the Python API, here in a child for each target.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from inputs import corpus, replay

from support.checkout import TESTS
from support.processes import run

# What each target must come to at least once, or its inputs try nothing behind the first check.
REACHED = {
    "gguf": "read",
    "model": "decoded",
    "adapter": "taken",
    "state": "taken",
    "session": "taken",
    "grammar": "followed",
    "template": "returned True",
}


@pytest.mark.parametrize("target", replay.ATTEMPTS)
def test_the_corpus_is_survived(target: str, tmp_path: Path) -> None:
    paths = os.pathsep.join(filter(None, [str(TESTS), str(TESTS / "safety"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths}
    ended = run(sys.executable, "-m", "inputs.replay", tmp_path, target, env=environment)
    last = (tmp_path / target).read_bytes()[:4000]
    assert ended.returncode == 0, f"ended with {ended.returncode} at {last!r}\n{ended.stderr[-3000:]}"
    outcomes: dict[str, int] = json.loads(ended.stdout.splitlines()[-1])
    print(outcomes)
    assert sum(outcomes.values()) == len(corpus.read()[target])
    assert any(REACHED[target] in outcome for outcome in outcomes)


def test_the_corpus_is_small() -> None:
    assert corpus.ARCHIVE.stat().st_size < corpus.MOST
