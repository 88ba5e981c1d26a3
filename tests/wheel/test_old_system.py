"""The wheel in dist/ runs in a Debian of 2021, whose glibc is older than that of the system that built it.

It needs root, debootstrap and some minutes for that Debian and a CPython that is built in it, which stay in
build/bullseye. There is no other way to a Python that the wheel wants: that Debian's own is 3.9, and one that was built
elsewhere needs a newer glibc itself.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from support.checkout import PROGRAMS, ROOT
from support.processes import output_of, run

pytestmark = pytest.mark.wheel

SYSTEM = ROOT / "build" / "bullseye"
PACKAGES = "gcc,make,libc6-dev,zlib1g-dev,libffi-dev,ca-certificates"
# CPython as the next Debian has it; bullseye's own keys sign that as well.
BUILD = """
set -eu
sed -i 's/^deb /deb-src /; s/ bullseye / bookworm /' /etc/apt/sources.list
apt-get -qq update
mkdir -p /source /build && cd /source
apt-get -qq source --download-only python3.11
tar -xf python3.11_*.orig.tar.*
cd /build
/source/Python-3.11.*/configure -q --prefix=/python CFLAGS=-O1 --without-ensurepip --disable-test-modules
make -s -j2
make -s install
"""
PYTHON = "/python/bin/python3.11"
LOADED = """
import platform, threading
import llamacffi
from llamacffi import llama_cpp as llama
try:
    llama.llama_n_ctx(None)
except llamacffi.LlamaValueError as error:
    print(type(error).__name__)
def fail():
    assert not llama.llama_model_load_from_file(b"/missing", llama.llama_model_default_params())
    print("missing" in llamacffi.last_error())
for _ in range(2):
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
print(*platform.libc_ver(), llamacffi.build_info().cpu_level)
"""


@pytest.fixture(scope="module")
def old_python() -> list[str | Path]:
    """The command that runs Python 3.11 there, without the package."""
    assert os.geteuid() == 0, "debootstrap and chroot need root"
    if not (SYSTEM / PYTHON[1:]).exists():
        shutil.rmtree(SYSTEM, ignore_errors=True)
        output_of("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bullseye", SYSTEM)
        output_of("chroot", SYSTEM, "sh", "-c", BUILD)
    return ["chroot", SYSTEM, "env", "PYTHONPATH=/site:/programs", PYTHON]


@pytest.fixture(scope="module")
def installed(old_python: list[str | Path], wheel: Path) -> list[str | Path]:
    """That Python with the wheel, and its one requirement as a wheel for manylinux_2_17 as well."""
    target = SYSTEM / "site"
    shutil.rmtree(target, ignore_errors=True)
    only = ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_17_x86_64"]
    output_of(sys.executable, "-m", "pip", "install", "--quiet", *only, "--target", target, wheel)
    shutil.copytree(PROGRAMS, SYSTEM / "programs", dirs_exist_ok=True)
    return old_python


def test_the_wheel_loads_and_raises_with_glibc_2_31(installed: list[str | Path]) -> None:
    ended = run(*installed, "-c", LOADED)
    assert ended.returncode == 0, ended.stderr
    *lines, libc = ended.stdout.splitlines()
    assert lines == ["LlamaValueError", "True", "True"]
    assert libc.startswith("glibc 2.31 ")


def test_it_generates_there_what_it_does_here(installed: list[str | Path], tiny_path: Path) -> None:
    shutil.copy(tiny_path, SYSTEM / "tiny.gguf")
    arguments = ("The capital of France is", "16", "2", "/tmp/logits")
    there = output_of(*installed, "/programs/greedy.py", "/tiny.gguf", *arguments)
    assert len(there.split()) == 16
    assert there == output_of(sys.executable, PROGRAMS / "greedy.py", tiny_path, *arguments)
