"""The peer: the engine under test as a shared library, which llama-cpp-python's package loads with ctypes."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import c_programs


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a `libllama.so`, linked from what the extension was linked from."""
    return c_programs.build_shared_library(tmp_path_factory.mktemp("peer")).parent
