"""What `llamacffi.build_info()` tells: how this llamacffi was built, and what of it runs here."""

from __future__ import annotations

from typing import NamedTuple

from llamacffi import _native, engines
from llamacffi._version import __version__


class BuildInfo(NamedTuple):
    """How this llamacffi was built, and which engine and CPU level run in this process."""

    version: str
    llama_cpp: str
    """The commit of llama.cpp."""
    compiler: str
    engine: str
    """`cpu`, which this package brings, or the add-on that was loaded in its place."""
    not_taken: dict[str, str]
    """Why each add-on that goes before it was not loaded."""
    backends: tuple[str, ...]
    """ggml's backends that the engine was built with."""
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
        __version__,
        commit.decode(),
        told["compiler"],
        told["engine"],
        dict(engines.refused),
        tuple(told["backends"].split(",")),
        tuple(told["cpu_levels"]),
        told["cpu_level"],
        told["reason"],
    )
