"""The wheels that `nox -s wheel` and `nox -s aarch64` have made."""

from __future__ import annotations

import platform
import zipfile
from pathlib import Path

import pytest

import llamacffi
from support.checkout import ROOT

MACHINES = {"aarch64": "aarch64", platform.machine(): "wheel"}  # by which session makes the wheel
CROSS_BUILT = pytest.param("aarch64", marks=pytest.mark.aarch64)


def wheel_for(machine: str) -> Path:
    found = list((ROOT / "dist").glob(f"llamacffi-{llamacffi.__version__}-cp311-abi3-manylinux*_{machine}.whl"))
    assert len(found) == 1, (
        f"dist/ should hold one wheel of this version for {machine}, not {len(found)}: "
        f"nox -s {MACHINES[machine]} makes it"
    )
    return found[0]


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel for this machine."""
    return wheel_for(platform.machine())


@pytest.fixture(scope="session")
def cross_built_wheel() -> Path:
    """The wheel for aarch64, built on any machine."""
    return wheel_for("aarch64")


@pytest.fixture(scope="session", params=[platform.machine(), CROSS_BUILT])
def machine(request: pytest.FixtureRequest) -> str:
    """This machine's architecture, and the one that is built for on another."""
    return str(request.param)


@pytest.fixture(scope="session")
def each_wheel(machine: str) -> Path:
    return wheel_for(machine)


@pytest.fixture(scope="session")
def extension(each_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension out of the wheel."""
    with zipfile.ZipFile(each_wheel) as opened:
        return Path(opened.extract("llamacffi/_llama.abi3.so", tmp_path_factory.mktemp("wheel")))
