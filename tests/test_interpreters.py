"""Interpreters: embedded in a C program, a second one in the same process, a second initialization, frozen."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from support.add_ons import add_on
from support.checkout import ROOT

REFUSED = (
    "ImportError: llamacffi was imported by another interpreter of this process, and llama.cpp's objects belong to "
    "that one: import it in one interpreter only, and initialize Python once in a process"
)

# Without the GIL a second one does not even get cffi.
WITHOUT_CFFI = "ImportError: module _cffi_backend does not support loading in subinterpreters"

ASK = 'PyRun_SimpleString("from llamacffi import lib; print(lib.llama_max_devices(), flush=True)");'
# Interpreters with a GIL of their own, CPython itself refuses.
SECOND = f"""
#include <Python.h>
int main(void) {{
    Py_Initialize();
    {ASK}
    PyThreadState *first = PyThreadState_Get(), *second = Py_NewInterpreter();
    {ASK}
    Py_EndInterpreter(second);
    PyThreadState_Swap(first);
    return Py_FinalizeEx() < 0;
}}
"""
TWICE = f"""
#include <Python.h>
int main(void) {{
    for (int i = 0; i < 2; ++i) {{
        Py_Initialize();
        {ASK}
        if (Py_FinalizeEx() < 0) return 1;
    }}
    return 0;
}}
"""


def run(*command: str, path: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a program that finds the packages of this interpreter, behind those of the folders in `path`."""
    folders = os.pathsep.join([*map(str, path), *sys.path])
    env = {**os.environ, "PYTHONPATH": folders, "PYTHONHOME": sys.base_prefix}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def built(source: Path, program: Path) -> str:
    """Compile a program that embeds this Python."""
    paths = sysconfig.get_paths()
    folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDVERSION")
    libraries = [f"-L{folder}", f"-Wl,-rpath,{folder}", f"-lpython{name}", *sysconfig.get_config_var("LIBS").split()]
    # -rdynamic: without it extensions do not find a CPython that is linked statically.
    command = ["cc", "-rdynamic", str(source), f"-I{paths['include']}", *libraries, "-lm", "-o", str(program)]
    subprocess.run(command, check=True)
    return str(program)


BOTH = pytest.mark.parametrize("program", [SECOND, TWICE], ids=["a second interpreter", "a second initialization"])


@BOTH
def test_another_interpreter_is_told_that_the_first_has_it(program: str, tmp_path: Path) -> None:
    check_that_the_second_is_refused(program, tmp_path)


@BOTH
def test_another_interpreter_gets_no_second_engine_in_the_place_of_an_add_on(program: str, tmp_path: Path) -> None:
    add_on(tmp_path, "vulkan")
    check_that_the_second_is_refused(program, tmp_path)


def check_that_the_second_is_refused(program: str, folder: Path) -> None:
    source = folder / "program.c"
    source.write_text(program)
    ended = run(built(source, folder / "program"), path=(folder,))
    by_cffi = program == SECOND and sysconfig.get_config_var("Py_GIL_DISABLED")
    refused = WITHOUT_CFFI if by_cffi else REFUSED
    assert (ended.returncode, ended.stdout, ended.stderr.splitlines()[-1]) == (0, "16\n", refused)


def test_an_import_after_the_module_was_dropped_gives_the_same_engine() -> None:
    script = (
        "import sys, llamacffi._llama as first\n"
        "del sys.modules['llamacffi._llama'], sys.modules['llamacffi']\n"
        "import llamacffi._llama as again\n"
        "print(first.lib is again.lib)\n"
    )
    ended = run(sys.executable, "-c", script)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")


def test_the_example_generates_and_ends(tmp_path: Path, tiny_path: Path) -> None:
    program = built(ROOT / "examples" / "embedding" / "embedding.c", tmp_path / "embedding")
    ended = run(program, str(tiny_path), "the cat")
    expected = run(sys.executable, "-c", script_of_the_example(), str(tiny_path), "the cat")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == expected.stdout != "\n"


def script_of_the_example() -> str:
    """Read the Python code out of the C program."""
    lines = (ROOT / "examples" / "embedding" / "embedding.c").read_text().splitlines()
    quoted = [line.strip().rstrip(";") for line in lines if line.startswith('    "')]
    return "".join(eval(line) for line in quoted)


@pytest.mark.wheel
def test_pyinstaller_needs_no_option(tmp_path: Path, tiny_path: Path) -> None:
    """A folder with the program, the interpreter and the extension, which runs without the packages around it."""
    (tmp_path / "program.py").write_text(script_of_the_example())
    command = [sys.executable, "-m", "PyInstaller", "--onedir", "--noconfirm", "program.py"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    program = tmp_path / "dist" / "program" / "program"
    alone = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    ended = subprocess.run([program, tiny_path, "the cat"], env=alone, capture_output=True, text=True, check=False)
    expected = run(sys.executable, "-c", script_of_the_example(), str(tiny_path), "the cat")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, expected.stdout, "")
