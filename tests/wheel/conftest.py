"""The wheel that `nox -s wheel` has made."""

from __future__ import annotations

from pathlib import Path

import pytest

import llamacffi
from support.checkout import ROOT


@pytest.fixture(scope="session")
def wheel() -> Path:
    found = list((ROOT / "dist").glob(f"llamacffi-{llamacffi.__version__}-cp311-abi3-manylinux*.whl"))
    assert len(found) == 1, f"dist/ should hold one wheel of this version, not {len(found)}: nox -s wheel makes it"
    return found[0]
