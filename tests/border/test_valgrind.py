"""Valgrind sees no wrong access and no lost memory with one of our frames in it.

Valgrind knows no AVX-512, so the extension is linked again, from the objects that it was built from, with a ggml-cpu
that is compiled for no newer CPU than AVX2. That takes one to two minutes on two cores; valgrind itself, seconds.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import llamacffi
from support.checkout import LIBRARIES, ROOT, source, static_library
from support.processes import output_of, run, tool

PROGRAM = Path(__file__).with_name("every_path.py")
EXTENSION = "_llama.abi3.so"


def portable_ggml_cpu(folder: Path) -> Path:
    """Compile ggml-cpu for the CPU that valgrind knows."""
    options = ["-DGGML_NATIVE=OFF", "-DCMAKE_BUILD_TYPE=Release", f"-DLLAMACFFI_SOURCE={source()}", "-DGIT_EXE="]
    options += [f"-DPython_EXECUTABLE={sys.executable}", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    output_of(tool("cmake"), "-S", ROOT / "csrc", "-B", folder, "-G", "Ninja", *options)
    output_of(tool("cmake"), "--build", folder, "--target", "ggml-cpu")
    return next(folder.rglob("libggml-cpu.a"))


@pytest.fixture(scope="session")
def portable_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with an extension that runs on an older CPU; returns the folder to import it from."""
    folder = tmp_path_factory.mktemp("portable")
    package = folder / "llamacffi"
    shutil.copytree(Path(llamacffi.__file__).parent, package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    objects = (ROOT / "build" / "native" / "CMakeFiles" / "_llama.dir").rglob("*.o")
    others = [static_library(name) for name in LIBRARIES if name != "ggml-cpu"]
    archives: list[str | Path] = [
        "-Wl,--start-group",
        portable_ggml_cpu(folder / "build"),
        *others,
        "-Wl,--end-group",
    ]
    output_of("c++", "-shared", "-o", package / EXTENSION, *objects, *archives, "-lpthread", "-ldl", "-lm")
    return folder


def errors_of(report: Path) -> list[str]:
    """Return the errors of a report that have a frame in the extension, each with its frames."""
    errors = ElementTree.parse(report).iter("error")
    return [text for text in map(frames_of, errors) if EXTENSION in text]


def frames_of(error: ElementTree.Element) -> str:
    frames = [f"  {frame.findtext('fn')} in {frame.findtext('obj')}" for frame in error.iter("frame")]
    what = error.findtext("what") or error.findtext("xwhat/text")
    return "\n".join([f"{error.findtext('kind')}: {what}", *frames])


@pytest.mark.long
def test_valgrind_finds_no_error_with_a_frame_of_ours(portable_package: Path, tiny_path: Path, tmp_path: Path) -> None:
    """CPython's own allocator hides what it hands out, hence PYTHONMALLOC."""
    report = tmp_path / "report.xml"
    valgrind = ["valgrind", "--leak-check=full", "--show-leak-kinds=definite", "--xml=yes", f"--xml-file={report}"]
    command: list[str | Path] = [*valgrind, "--num-callers=40", sys.executable, PROGRAM, tiny_path]
    environment = {**os.environ, "PYTHONMALLOC": "malloc", "PYTHONPATH": str(portable_package)}
    ended = run(*command, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("done ")
    assert errors_of(report) == []


@pytest.mark.long
def test_valgrind_s_report_is_read_right(tmp_path: Path) -> None:
    """An error that is there is found: one frame in the extension, one elsewhere."""
    frame = "<stack><frame><obj>{}</obj><fn>f</fn></frame></stack>"
    error = "<error><kind>InvalidRead</kind><what>Invalid read</what>{}</error>"
    stacks = [frame.format(f"/somewhere/{EXTENSION}"), frame.format("/usr/bin/python3")]
    report = tmp_path / "report.xml"
    report.write_text(f"<valgrindoutput>{''.join(map(error.format, stacks))}</valgrindoutput>")
    assert errors_of(report) == [f"InvalidRead: Invalid read\n  f in /somewhere/{EXTENSION}"]
