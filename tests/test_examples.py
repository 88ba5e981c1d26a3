"""Programs written for `llama_cpp.llama_cpp` run unchanged: the six uses that the low-level API documents.

The programs in tests/programs import `llama_cpp.llama_cpp` and know nothing of llamacffi.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from support.checkout import PROGRAMS
from support.processes import Ended, output_of, output_of_python, run_python

LAUNCH = """
import runpy, sys
import llamacffi

llamacffi.install_as_llama_cpp()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_program(name: str, *arguments: str | Path) -> Ended:
    ended = run_python(LAUNCH, PROGRAMS / name, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.fixture(scope="module")
def facts(model_path: Path) -> dict[str, int]:
    """What the `gguf` package reads in the model file."""
    fields = gguf.GGUFReader(model_path).fields
    return {key: int(fields[f"llama.{key}"].contents()) for key in ("context_length", "embedding_length")}


def test_basic_setup(model_path: Path, facts: dict[str, int]) -> None:
    """The default context has 512 tokens, as llama_context_default_params says in llama.cpp."""
    *told, description, freed = run_program("basic_setup.py", model_path).stdout.splitlines()
    assert told == ["tokens in the context: 512", f"numbers in an embedding: {facts['embedding_length']}"]
    assert description.startswith("model: llama ")
    assert freed == "all is freed"


CAPABILITIES_IN_C = """
#include <stdio.h>
#include "llama.h"
int main(void) {
    printf("mmap: %d\\nmlock: %d\\n", llama_supports_mmap(), llama_supports_mlock());
    printf("gpu_offload: %d\\n", ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) != NULL);
    printf("devices: %d\\n", (int) llama_max_devices());
    printf("features: %s\\n", llama_print_system_info());
}
"""


def test_system_capability_detection(c_program: Callable[[str], Path]) -> None:
    *told, time = run_program("system_capabilities.py").stdout.splitlines()
    assert told == output_of(c_program(CAPABILITIES_IN_C)).splitlines()
    assert time == "time passes: True"


def test_custom_parameters(model_path: Path) -> None:
    lines = run_program("custom_parameters.py", model_path).stdout.splitlines()
    assert lines == ["loaded to the end", "n_ctx 1024", "n_batch 256", "n_ubatch 128", "n_threads 1"]


def test_memory_management(model_path: Path) -> None:
    lines = run_program("memory_management.py", model_path).stdout.splitlines()
    assert lines == ["the model is in memory while it is open: True", "and its memory comes back: True"]


def test_error_handling(model_path: Path) -> None:
    ended = run_program("error_handling.py", model_path)
    assert ended.stdout.splitlines() == ["missing: refused", "text: refused", "cut: refused", "good: ready"]
    assert "n_batch and n_ubatch cannot both be zero" in ended.stderr


def test_performance_monitoring(model_path: Path) -> None:
    assert run_program("performance_monitoring.py", model_path).stdout.splitlines() == [
        "loading took time: True",
        "making a context took time: True",
        "tokens counted: True",
        "decoding took time: True",
        "decoding was counted: True",
    ]


# install_as_llama_cpp

# A stand-in for llama-cpp-python: its package imports the low-level module as the real one does.
PACKAGE = "from .llama_cpp import *\nfrom .high_level import Llama\n"
HIGH_LEVEL = """
import llama_cpp
import llama_cpp.llama_cpp as low_level

class Llama:
    engine = low_level
    def time(self):
        return llama_cpp.llama_time_us()
"""
ANOTHER_ENGINE = "llama_max_devices = lambda: 'another engine'\nllama_time_us = None\n"


@pytest.fixture
def stand_in(tmp_path: Path) -> dict[str, str]:
    """An environment in which a package named llama_cpp is installed."""
    package = tmp_path / "llama_cpp"
    package.mkdir()
    (package / "__init__.py").write_text(PACKAGE)
    (package / "high_level.py").write_text(HIGH_LEVEL)
    (package / "llama_cpp.py").write_text(ANOTHER_ENGINE)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def succeeds(code: str, env: dict[str, str] | None = None) -> bool:
    return output_of_python(f"import sys, llamacffi\n{code}", env=env) == ""


def test_the_stand_in_is_another_engine(stand_in: dict[str, str]) -> None:
    assert succeeds("import llama_cpp\nassert llama_cpp.llama_max_devices() == 'another engine'", stand_in)


WAYS = [
    "import llama_cpp.llama_cpp as low_level",
    "from llama_cpp import llama_cpp as low_level",
    "import llama_cpp.llama_cpp; low_level = llama_cpp.llama_cpp",
    "import llama_cpp; low_level = llama_cpp.llama_cpp",
    "import importlib; low_level = importlib.import_module('llama_cpp.llama_cpp')",
]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_importing_finds_this_package(way: str) -> None:
    code = "from importlib.util import find_spec\nassert find_spec('llama_cpp') is None\n"
    code += f"llamacffi.install_as_llama_cpp()\n{way}\nassert low_level is sys.modules['llamacffi.llama_cpp']"
    assert succeeds(code)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_importing_finds_this_package_where_another_is_installed(
    stand_in: dict[str, str], way: str
) -> None:
    code = f"llamacffi.install_as_llama_cpp()\n{way}\nassert low_level is sys.modules['llamacffi.llama_cpp']"
    assert succeeds(code, stand_in)


def test_the_installed_high_level_package_runs_on_this_engine(stand_in: dict[str, str]) -> None:
    code = """
llamacffi.install_as_llama_cpp()
from llama_cpp import Llama, llama_supports_mmap
assert Llama.engine is sys.modules["llamacffi.llama_cpp"]
assert Llama().time() > 0
assert llama_supports_mmap() is True
"""
    assert succeeds(code, stand_in)


def test_calling_it_again_changes_nothing() -> None:
    code = """
llamacffi.install_as_llama_cpp()
before = dict(sys.modules)
llamacffi.install_as_llama_cpp()
import llama_cpp.llama_cpp
llamacffi.install_as_llama_cpp()
assert sys.modules["llama_cpp.llama_cpp"] is before["llama_cpp.llama_cpp"]
assert sys.modules["llama_cpp"] is before["llama_cpp"]
"""
    assert succeeds(code)


def test_after_another_engine_was_imported_it_is_an_import_error(stand_in: dict[str, str]) -> None:
    code = """
import llama_cpp.llama_cpp
try:
    llamacffi.install_as_llama_cpp()
except ImportError as error:
    assert "call install_as_llama_cpp() before" in str(error)
    assert llama_cpp.llama_max_devices() == "another engine"
else:
    raise SystemExit("no ImportError")
"""
    assert succeeds(code, stand_in)
