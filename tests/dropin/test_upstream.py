"""llama-cpp-python's own tests, out of the pinned archive, on this engine: all that need no model from the network.

Needs the packages of the extra `dropin`: `pip install '.[test,dropin]' && pytest -m long tests/dropin`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from engines import LLAMACFFI, environment, package

from support.checkout import load_fetch, vocabulary_folder
from support.processes import run

pytestmark = pytest.mark.long

NO_HUB = """
import pytest

def hf_hub_download(*arguments, **options):
    pytest.skip("needs a model from the network")
"""


def test_they_pass(tmp_path: Path) -> None:
    (tmp_path / "huggingface_hub.py").write_text(NO_HUB)
    env = environment(tmp_path)
    env["PYTHONPATH"] += f":{package()}"
    tests = Path(load_fetch().extract("tests/*"), "tests")
    top = vocabulary_folder().parents[2]  # the tests name the vocabularies from the top of the archive
    ended = run(LLAMACFFI, "run", "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, cwd=top, env=env)
    assert ended.returncode == 0, ended.stdout
    passed = re.search(r"(\d+) passed", ended.stdout)
    assert passed
    assert int(passed[1]) >= 8
