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
    "ImportError: llamacffi belongs to another interpreter of this process, as llama.cpp's objects do: import it in "
    "one interpreter only (from CPython 3.13 on in the main one), and initialize Python once in a process"
)

# Without the GIL a second interpreter does not even get cffi.
WITHOUT_CFFI = "ImportError: module _cffi_backend does not support loading in subinterpreters"

# Its arguments are Python code, and words that say where the next code runs. Interpreters with a GIL of their own,
# CPython itself refuses.
PROGRAM = """
#include <Python.h>
#include <string.h>
int main(int argc, char **argv) {
    Py_Initialize();
    PyThreadState *first = PyThreadState_Get(), *second = NULL;
    for (char **step = argv + 1; *step; ++step) {
        if (!strcmp(*step, "second")) {
            second = Py_NewInterpreter();
        } else if (!strcmp(*step, "first")) {
            PyThreadState_Swap(first);
        } else if (!strcmp(*step, "end second")) {
            PyThreadState_Swap(second);
            Py_EndInterpreter(second);
            PyThreadState_Swap(first);
        } else if (!strcmp(*step, "again")) {
            if (Py_FinalizeEx() < 0) return 1;
            Py_Initialize();
        } else {
            PyRun_SimpleString(*step);
        }
    }
    return Py_FinalizeEx() < 0;
}
"""
# CPython 3.13 makes a module of this sort in the main interpreter, whichever imports it.
MADE_IN_THE_FIRST = sys.version_info >= (3, 13)


def ask(name: str) -> tuple[str, ...]:
    """Have an interpreter tell its name where it gets the functions: by the package, then by the extension."""
    return tuple(
        f"from {module} import lib; print({name!r}, lib.llama_max_devices(), flush=True)"
        for module in ("llamacffi", "llamacffi._llama")
    )


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


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    source = tmp_path_factory.mktemp("interpreters") / "program.c"
    source.write_text(PROGRAM)
    return built(source, source.with_suffix(""))


@pytest.fixture(params=["the own engine", "an add-on"])
def engines(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder to find packages in: with an add-on, or without."""
    if request.param == "an add-on":
        add_on(tmp_path, "vulkan")
    return tmp_path


@pytest.mark.parametrize(
    ("steps", "owner"),
    [
        ((*ask("first"), "second", *ask("second"), "end second"), "first"),
        ((*ask("first"), "again", *ask("second")), "first"),
        (("second", *ask("second"), "first", *ask("first"), "end second"), "first" if MADE_IN_THE_FIRST else "second"),
        (("second", *ask("second"), "end second", *ask("first")), "first" if MADE_IN_THE_FIRST else "second"),
    ],
    ids=["a second interpreter", "a second initialization", "a second one is first", "a second one is first and ends"],
)
def test_one_interpreter_has_the_engine_and_another_is_told_so_each_time(
    steps: tuple[str, ...], owner: str, program: str, engines: Path
) -> None:
    ended = run(program, *steps, path=(engines,))
    assert (ended.returncode, ended.stdout) == (0, f"{owner} 16\n" * 2), ended.stderr
    by_cffi = "second" in steps and sysconfig.get_config_var("Py_GIL_DISABLED")
    assert ended.stderr.splitlines().count(WITHOUT_CFFI if by_cffi else REFUSED) == 2, ended.stderr


NAMED = """
import os, sys
os.environ["LLAMACFFI_ENGINE"] = {!r}
import llamacffi
print(os.path.basename(os.path.dirname(sys.modules["llamacffi._llama"].__file__)), flush=True)
"""


def test_the_main_interpreter_gets_the_engine_that_it_names(program: str, tmp_path: Path) -> None:
    """Where another asked for an add-on before, which CPython has made in the main one."""
    add_on(tmp_path, "vulkan")
    ended = run(program, "second", NAMED.format("vulkan"), "end second", NAMED.format("cpu"), path=(tmp_path,))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [*([] if MADE_IN_THE_FIRST else ["llamacffi_vulkan"]), "llamacffi"]


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
