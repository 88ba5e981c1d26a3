"""`install_as_llama_cpp()`: with llama-cpp-python, without it, after it, twice, and in spawned processes.

Each case is a process of its own. The archive's Python package stands for the installed one: it has no shared library,
so whatever tried to load one would fail.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from engines import LLAMACFFI, environment, package

from support.processes import Ended, output_of_python, run

INSTALL = "import sys, llamacffi\nllamacffi.install_as_llama_cpp()\n"


@pytest.fixture(scope="module")
def installed() -> dict[str, str]:
    return environment(package())


# ---------------------------------------------------------------- llama-cpp-python is not installed


def test_alone_the_package_has_no_high_level_modules() -> None:
    code = f"""{INSTALL}
import llama_cpp, llama_cpp.llama_cpp, importlib.util
assert llama_cpp.llama_cpp is sys.modules["llamacffi.llama_cpp"]
assert importlib.util.find_spec("llama_cpp.llama_cpp") is not None
try:
    import llama_cpp.llama
except ModuleNotFoundError as error:
    assert error.name == "llama_cpp.llama", error.name
else:
    raise SystemExit("there is a high-level package")
"""
    output_of_python(code)


def test_the_module_keeps_its_own_name_and_spec() -> None:
    code = f"""{INSTALL}
import llama_cpp.llama_cpp as low_level, importlib
assert low_level.__name__ == low_level.__spec__.name == "llamacffi.llama_cpp"
assert importlib.reload(low_level) is low_level
"""
    output_of_python(code)


# ---------------------------------------------------------------- it is installed


def test_installed_its_high_level_package_runs_on_this_engine(installed: dict[str, str]) -> None:
    code = f"""{INSTALL}
import llama_cpp, llama_cpp.llama
assert llama_cpp.llama_cpp is llama_cpp.llama.llama_cpp is sys.modules["llamacffi.llama_cpp"]
assert llama_cpp.llama_decode is sys.modules["llamacffi.llama_cpp"].llama_decode
assert llama_cpp.__version__
assert "libllama" not in open("/proc/self/maps").read()
"""
    output_of_python(code, env=installed)


@pytest.mark.parametrize("name", ["mtmd_cpp", "_ggml"])
def test_installed_its_other_low_level_modules_are_this_package_s(installed: dict[str, str], name: str) -> None:
    code = f"""{INSTALL}
import llama_cpp, importlib
module = importlib.import_module("llama_cpp.{name}")
assert module is llama_cpp.{name} is sys.modules["llamacffi.{name}"]
assert module.__name__ == module.__spec__.name == "llamacffi.{name}"
assert "libmtmd" not in open("/proc/self/maps").read()
"""
    output_of_python(code, env=installed)


@pytest.mark.parametrize("name", ["llava_cpp", "llama_cpp_ext"])
def test_installed_its_modules_with_a_library_of_their_own_are_refused(installed: dict[str, str], name: str) -> None:
    """Their engine would be given the handles of this one."""
    code = f"""{INSTALL}
import llama_cpp
try:
    import llama_cpp.{name}
except ImportError as error:
    assert "cannot be used in a process in which llamacffi stands for llama_cpp" in str(error), error
else:
    raise SystemExit("it was imported")
"""
    output_of_python(code, env=installed)


def test_it_may_become_importable_later(installed: dict[str, str]) -> None:
    """As for a program that extends `sys.path` first."""
    code = f"""import sys
sys.path.insert(0, {str(package())!r})
{INSTALL}
from llama_cpp import Llama
"""
    output_of_python(code)


def test_an_engine_that_is_already_imported_is_a_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "llama_cpp"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .llama_cpp import *\n")
    (folder / "llama_cpp.py").write_text("llama_max_devices = lambda: 'another engine'\n")
    code = """import sys, llamacffi, llama_cpp
for _ in range(2):
    try:
        llamacffi.install_as_llama_cpp()
    except ImportError as error:
        assert "already imported from llama-cpp-python: call install_as_llama_cpp() before that" in str(error)
    else:
        raise SystemExit("no error")
assert llama_cpp.llama_cpp.llama_max_devices() == "another engine"
assert not any("llamacffi" in type(finder).__module__ for finder in sys.meta_path)
"""
    output_of_python(code, env=environment(tmp_path))


def test_calling_it_twice_changes_nothing(installed: dict[str, str]) -> None:
    code = f"""{INSTALL}
before = list(sys.meta_path)
llamacffi.install_as_llama_cpp()
import llama_cpp
llamacffi.install_as_llama_cpp()
assert sys.meta_path == before
assert llama_cpp.llama_cpp is sys.modules["llamacffi.llama_cpp"]
"""
    output_of_python(code, env=installed)


# ---------------------------------------------------------------- multiprocessing

SPAWNING = """
import llama_cpp.llama_cpp as low_level
import concurrent.futures, multiprocessing, sys

def work(number):
    batch = low_level.llama_batch_get_one((low_level.llama_token * 1)(number), 1)
    return low_level.__name__, batch.token[0], "llamacffi.llama_cpp" in sys.modules

if __name__ == "__main__":
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(1) as pool:
            print(pool.map(work, [7]))
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            print(pool.submit(work, 8).result())
"""
SPAWNED = 2 * "[('llamacffi.llama_cpp', 7, True)]\n('llamacffi.llama_cpp', 8, True)\n"


def spawn(tmp_path: Path, *command: str | Path, code: str = SPAWNING) -> Ended:
    (tmp_path / "spawning.py").write_text(code)
    return run(*command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)})


@pytest.mark.parametrize("program", [["spawning.py"], ["-m", "spawning"]], ids=" ".join)
def test_processes_that_a_run_program_spawns_have_it_too(tmp_path: Path, program: list[str]) -> None:
    ended = spawn(tmp_path, LLAMACFFI, "run", *program)
    assert ended.stdout == SPAWNED, ended.stderr


def test_processes_that_a_program_spawns_after_installing_have_it_too(tmp_path: Path) -> None:
    """The main module is imported there under another name, so what it does as `__main__` is not done again."""
    code = f"if __name__ == '__main__':\n    import llamacffi\n    llamacffi.install_as_llama_cpp()\n{SPAWNING}"
    ended = spawn(tmp_path, sys.executable, "spawning.py", code=code)
    assert ended.stdout == SPAWNED, ended.stderr


def test_ctypes_objects_travel_between_processes(tmp_path: Path) -> None:
    """They are pickled by the name of their module, which a spawned process finds."""
    code = """
import llama_cpp.llama_cpp as low_level
import multiprocessing

def numbers(data):
    return data.id, data.logit, data.p

if __name__ == "__main__":
    value = low_level.llama_token_data(id=5, logit=1.5, p=0.25)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(numbers, [value]))
"""
    ended = spawn(tmp_path, LLAMACFFI, "run", "spawning.py", code=code)
    assert ended.stdout == "[(5, 1.5, 0.25)]\n", ended.stderr
