"""What `llamacffi.build_info()` tells: how this llamacffi was built, and what of it runs here."""

from __future__ import annotations

from typing import NamedTuple

import llamacffi
from llamacffi import _native


class BuildInfo(NamedTuple):
    """How this llamacffi was built, and which of its CPU levels runs here."""

    version: str
    llama_cpp: str
    """The commit of llama.cpp."""
    compiler: str
    cpu_levels: tuple[str, ...]
    """The levels that ggml's CPU functions were compiled for, the least first."""
    cpu_level: str
    """The one that runs in this process."""
    reason: str
    """Why that one."""


def build_info() -> BuildInfo:
    """Ask the extension."""
    told = _native.build_info()
    commit: bytes = _native.lib.ggml_commit()
    return BuildInfo(
        llamacffi.__version__,
        commit.decode(),
        told["compiler"],
        tuple(told["cpu_levels"]),
        told["cpu_level"],
        told["reason"],
    )
