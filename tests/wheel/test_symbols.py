"""The extension with all CPU levels asks a system for little, and for nothing newer than manylinux_2_17 allows.

Relies on the wheels that `nox -s wheel` and `nox -s aarch64` have made, and on readelf and nm of the binutils.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.processes import output_of

pytestmark = pytest.mark.wheel

# PEP 599 and PEP 600: what CentOS 7 has.
NEWEST = {"GLIBC": (2, 17), "GCC": (4, 8, 0)}
LIBRARIES = {"libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0"}


def readelf(extension: Path, *options: str) -> str:
    return output_of("readelf", "--wide", *options, extension)


def segments(extension: Path) -> list[tuple[str, str]]:
    """The kind of each segment, and what its memory may be used for."""
    return re.findall(r"^  (\w+) .* ([R ][W ][E ]) 0x\w+$", readelf(extension, "--segments"), re.M)


def test_no_symbol_is_newer_than_glibc_2_17_and_none_is_of_the_c_library_of_c_plus_plus(extension: Path) -> None:
    symbols = output_of("nm", "--dynamic", "--undefined-only", extension)
    needed = set(re.findall(r" (\S+)@([A-Z]+)_([\d.]+)$", symbols, re.M))
    assert {family for _, family, _ in needed} == set(NEWEST)
    newer = {
        f"{name}@{family}_{version}"
        for name, family, version in needed
        if tuple(map(int, version.split("."))) > NEWEST[family]
    }
    assert newer == set(), "csrc/engine/old_glibc.c should have these"


def test_a_symbol_without_a_version_is_python_s_or_may_be_missing(extension: Path) -> None:
    symbols = output_of("nm", "--dynamic", "--undefined-only", extension)
    bare = re.findall(r"^\s+U ([^@\s]+)$", symbols, re.M)
    assert [name for name in bare if not name.startswith(("Py", "_Py"))] == []


def test_the_libraries_that_it_needs_are_those_of_any_linux(extension: Path) -> None:
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", readelf(extension, "--dynamic")))
    assert {name for name in needed if not name.startswith("ld-linux")} == LIBRARIES


def test_what_was_relocated_is_read_only_and_nothing_is_bound_later(extension: Path) -> None:
    assert ("GNU_RELRO", "R  ") in segments(extension)
    assert re.search(r"\(FLAGS\)\s+BIND_NOW", readelf(extension, "--dynamic"))


def test_no_memory_is_writable_and_executable_and_no_code_is_relocated(extension: Path) -> None:
    assert ("GNU_STACK", "RW ") in segments(extension)
    assert {use for kind, use in segments(extension) if kind == "LOAD"} <= {"R  ", "R E", "RW "}
    assert "TEXTREL" not in readelf(extension, "--dynamic")


def test_it_takes_nothing_of_the_thread_local_memory_that_a_system_has_little_of(extension: Path) -> None:
    """AMX has 67 kB of its own for each thread."""
    assert "STATIC_TLS" not in readelf(extension, "--dynamic")


def test_one_symbol_is_exported(extension: Path) -> None:
    listed = output_of("nm", "--dynamic", "--defined-only", extension)
    assert [line.split()[-1] for line in listed.splitlines()] == ["PyInit__llama"]
