"""The peer: the engine under test as a shared library, which llama-cpp-python's package loads with ctypes.

And what a program printed on ours and on it, where a module's fixture `runs` has run it on both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engines import facts

from support import c_programs
from support.processes import Ended


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a `libllama.so`, linked from what the extension was linked from."""
    return c_programs.build_shared_library(tmp_path_factory.mktemp("peer")).parent


@pytest.fixture(scope="module")
def ours(runs: list[Ended]) -> dict[str, Any]:
    return facts(runs[0])


@pytest.fixture(scope="module")
def theirs(runs: list[Ended]) -> dict[str, Any]:
    return facts(runs[1])
