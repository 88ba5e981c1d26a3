"""A wheel in dist/ is what its name says, and installs where there is nothing but Python.

Relies on an extension that was built in place with all levels, and on the wheel that `nox -s wheel` has made with it;
the one for aarch64 makes `nox -s aarch64`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import llamacffi
from support.checkout import PROGRAMS
from support.processes import output_of, tool

pytestmark = pytest.mark.wheel

MOST_BYTES = 5_000_000


def test_its_extension_is_the_one_that_the_other_tests_are_about(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        assert (
            opened.read("llamacffi/_llama.abi3.so") == Path(llamacffi.__file__).with_name("_llama.abi3.so").read_bytes()
        )


def test_it_is_small(each_wheel: Path) -> None:
    assert each_wheel.stat().st_size <= MOST_BYTES


def test_it_is_for_the_stable_abi_and_for_glibc_2_17(each_wheel: Path, machine: str) -> None:
    """manylinux2014 is an older name of the same."""
    tags = each_wheel.stem.split("-", 2)[2]
    assert tags == f"cp311-abi3-manylinux2014_{machine}.manylinux_2_17_{machine}"
    said = " ".join(output_of(tool("auditwheel"), "show", each_wheel).split())
    assert f'is consistent with the following platform tag: "manylinux_2_17_{machine}".' in said


def test_nothing_was_put_into_it_that_is_not_the_package(each_wheel: Path) -> None:
    with zipfile.ZipFile(each_wheel) as opened:
        folders = {name.partition("/")[0] for name in opened.namelist()}
        libraries = [name for name in opened.namelist() if re.search(r"\.so\b", name)]
    assert folders == {"llamacffi", f"llamacffi-{llamacffi.__version__}.dist-info"}
    assert libraries == ["llamacffi/_llama.abi3.so"]


def test_it_uses_the_stable_abi_alone(each_wheel: Path) -> None:
    output_of(tool("abi3audit"), "--strict", each_wheel)


def test_its_contents_and_its_metadata_pass(each_wheel: Path) -> None:
    output_of(tool("check-wheel-contents"), each_wheel)
    output_of(tool("twine"), "check", "--strict", each_wheel)


def test_a_fresh_environment_needs_nothing_but_the_wheel(wheel: Path, tiny_path: Path, tmp_path: Path) -> None:
    """It generates there what it does here, with cffi as the one package beside it."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    output_of(python, "-m", "pip", "install", "--quiet", "--only-binary=:all:", wheel)
    listed = output_of(python, "-m", "pip", "list", "--format=freeze")
    packages = {line.partition("==")[0] for line in listed.splitlines()}
    assert packages - {"pip", "setuptools"} == {"cffi", "pycparser", "llamacffi"}
    arguments = (PROGRAMS / "greedy.py", tiny_path, "The capital of France is", "16", "2", tmp_path / "logits")
    bare = {"PATH": os.defpath, "HOME": str(tmp_path)}
    assert output_of(python, *arguments, env=bare) == output_of(sys.executable, *arguments)
