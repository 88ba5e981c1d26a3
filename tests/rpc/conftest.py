"""Workers that the tests of a file share, which none of them may end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import tiny_model
from support.rpc_servers import Worker, worker


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Worker]]:
    """Three workers on the loopback, which start beside each other."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(worker()) for _ in range(3)]


@pytest.fixture(scope="session")
def layered_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of six layers."""
    return tiny_model.write(tmp_path_factory.mktemp("rpc") / "layers.gguf", tiny_model.LAYERED)
