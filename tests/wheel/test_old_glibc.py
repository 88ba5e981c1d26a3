"""What stands in the place of glibc's newer functions (csrc/engine/old_glibc.c) does what those do."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import pytest

from support.checkout import PROGRAMS, ROOT
from support.processes import output_of

pytestmark = pytest.mark.wheel

X = 2.3456789


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("old_glibc")
    (made / "file").write_bytes(b"x" * 12345)
    (made / "link").symlink_to("file")
    return made


@pytest.fixture(scope="module")
def printed(folder: Path) -> list[str]:
    """The lines of the program."""
    # Hidden, as in the extension: else glibc's old functions of these names would be these again.
    output_of(
        "cc",
        "-O2",
        "-fvisibility=hidden",
        "-c",
        ROOT / "csrc" / "engine" / "old_glibc.c",
        "-o",
        "old_glibc.o",
        cwd=folder,
    )
    libraries = ["-static-libstdc++", "-Wl,--no-as-needed", "-l:libpthread.so.0", "-l:libdl.so.2", "-lm"]
    code = PROGRAMS / "old_glibc.cpp"
    output_of("c++", "-O1", "-fno-builtin", code, "old_glibc.o", *libraries, "-o", "program", cwd=folder)
    assert "exp@GLIBC_2.2.5" in output_of("nm", "--dynamic", "program", cwd=folder)
    return output_of(folder / "program", "file", "link", "missing", str(X), cwd=folder).splitlines()


def words(printed: list[str], start: str) -> list[list[str]]:
    """Return what follows the first word on the lines that begin with it."""
    return [line.split()[1:] for line in printed if line.split()[0] == start]


def fields(found: os.stat_result) -> list[str]:
    return list(map(str, (0, found.st_ino, found.st_size, found.st_mode, int(found.st_mtime))))


def test_files_are_as_the_kernel_tells_them(printed: list[str], folder: Path) -> None:
    file, link = fields((folder / "file").stat()), fields((folder / "link").lstat())
    assert file != link
    assert [words(printed, name) for name in ("stat", "fstat", "lstat")] == [[file], [file], [link]]
    assert words(printed, "missing") == [["-1", "0", "0", "0", "0"]]


def test_a_thread_s_variables_end_with_it_and_the_last_first(printed: list[str]) -> None:
    start = printed.index("first second")
    assert printed[start + 1 : start + 4] == ["end of second", "end of first", "joined"]


def test_a_wait_is_as_long_as_it_should_be(printed: list[str]) -> None:
    (none_timed_out, none), (some_timed_out, some) = words(printed, "waited")
    assert (none_timed_out, some_timed_out) == ("1", "1")
    assert float(none) < 1.2 <= float(some) < 10


def test_numbers_are_those_of_python(printed: list[str]) -> None:
    (doubles,), (floats,) = words(printed, "double"), words(printed, "float")
    (single,) = struct.unpack("f", struct.pack("f", X))
    for found, x, error in ((doubles, X, 1e-15), (floats, single, 3e-7)):
        expected = [math.exp(x), math.log(x), math.log2(x), x**1.7]
        assert [float.fromhex(text) for text in found] == pytest.approx(expected, rel=error)


def test_the_cpu_is_one_that_the_process_may_use(printed: list[str]) -> None:
    ((status, cpu, node),) = words(printed, "cpu")
    assert status == "0"
    assert int(cpu) in os.sched_getaffinity(0)
    assert int(node) < 1024


def test_random_bits_are_random(printed: list[str]) -> None:
    (random,), ((status, *entropy),) = words(printed, "random"), words(printed, "entropy")
    assert status == "0"
    assert len(set(random)) == 2
    assert len(set(entropy)) > 4  # of 16


def test_an_exception_is_caught(printed: list[str]) -> None:
    assert words(printed, "caught") == [["thrown"]]
