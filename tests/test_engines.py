"""Which extension is loaded where add-ons are installed: tried with add-ons that hold this package's own extension.

What a real one does with its driver is in tests/add_ons/.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import llamacffi
from support.add_ons import add_on
from support.processes import Ended, output_of, run_python

TELL = """
import ctypes, sys
from pathlib import Path
import llamacffi
from llamacffi import llama_cpp
info = llamacffi.build_info()
print(Path(sys.modules["llamacffi._llama"].__file__).parent.name)
print(info.not_taken.get("cuda13"), info.not_taken.get("vulkan"), sep="\\n")
assert llamacffi._llama is sys.modules["llamacffi._llama"]
capsule = ctypes.pythonapi.PyCapsule_Import
capsule.restype = ctypes.c_void_p
assert capsule(b"llamacffi._llama._C_API", 0)
assert llama_cpp.llama_max_devices() > 0
"""
NOT_INSTALLED = "llamacffi-{0} is not installed: pip install 'llamacffi[{0}]'"


def ask(folder: Path, engine: str = "") -> Ended:
    return run_python(TELL, env={**os.environ, "PYTHONPATH": str(folder), "LLAMACFFI_ENGINE": engine})


def told(folder: Path, engine: str = "") -> list[str]:
    """The package whose extension was loaded, and why no other was."""
    ended = ask(folder, engine)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def complaint(folder: Path, engine: str) -> str:
    ended = ask(folder, engine)
    assert ended.returncode == 1, (ended.returncode, ended.stderr)
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    return last.removeprefix("ImportError: ")


def test_without_an_add_on_the_package_has_its_own(tmp_path: Path) -> None:
    assert told(tmp_path) == ["llamacffi", NOT_INSTALLED.format("cuda13"), NOT_INSTALLED.format("vulkan")]


def test_an_add_on_is_loaded_in_the_place_of_the_own(tmp_path: Path) -> None:
    add_on(tmp_path, "vulkan")
    assert told(tmp_path) == ["llamacffi_vulkan", NOT_INSTALLED.format("cuda13"), "None"]


def test_the_better_of_two_is_loaded(tmp_path: Path) -> None:
    add_on(tmp_path, "vulkan")
    add_on(tmp_path, "cuda13")
    assert told(tmp_path) == ["llamacffi_cuda13", "None", "None"]


def test_one_of_another_version_is_not_taken(tmp_path: Path) -> None:
    add_on(tmp_path, "vulkan", version="0.0.1")
    assert told(tmp_path)[2] == (
        f"llamacffi-vulkan has the version 0.0.1, and llamacffi {llamacffi.__version__}: "
        f"pip install 'llamacffi[vulkan]=={llamacffi.__version__}'"
    )


def test_a_folder_of_that_name_is_no_add_on(tmp_path: Path) -> None:
    (tmp_path / "llamacffi_vulkan").mkdir()
    assert told(tmp_path)[2].startswith("llamacffi-vulkan has the version None, and llamacffi ")


def test_one_without_an_extension_is_not_taken(tmp_path: Path) -> None:
    add_on(tmp_path, "vulkan", extension=None)
    assert told(tmp_path)[2] == "llamacffi-vulkan has no extension for this Python: install its wheel again"


def test_one_whose_driver_is_missing_is_not_taken(tmp_path: Path) -> None:
    """As the loader says it; the next one is tried."""
    (tmp_path / "driver.c").write_text("void drive(void) {}\n")
    (tmp_path / "extension.c").write_text("void drive(void); void start(void) { drive(); }\n")
    driver, extension = tmp_path / "libdriver.so.1", tmp_path / "extension.so"
    output_of("cc", "-shared", "-fPIC", "-o", driver, tmp_path / "driver.c")
    output_of("cc", "-shared", "-fPIC", "-o", extension, tmp_path / "extension.c", driver)
    driver.unlink()
    add_on(tmp_path, "cuda13", extension=extension)
    add_on(tmp_path, "vulkan")
    taken, reason, _ = told(tmp_path)
    assert (taken, "libdriver.so.1: cannot open shared object file" in reason) == ("llamacffi_vulkan", True)


def test_the_engine_that_is_named_is_loaded(tmp_path: Path) -> None:
    add_on(tmp_path, "vulkan")
    add_on(tmp_path, "cuda13")
    assert told(tmp_path, "vulkan") == ["llamacffi_vulkan", "LLAMACFFI_ENGINE names vulkan", "None"]


def test_the_own_one_is_loaded_where_it_is_named(tmp_path: Path) -> None:
    add_on(tmp_path, "vulkan")
    assert told(tmp_path, "cpu") == ["llamacffi", "LLAMACFFI_ENGINE names cpu", "LLAMACFFI_ENGINE names cpu"]


@pytest.mark.parametrize("name", ["cuda13", "vulkan"])
def test_one_that_is_named_and_not_installed_is_an_error(tmp_path: Path, name: str) -> None:
    reason = NOT_INSTALLED.format(name)
    assert complaint(tmp_path, name) == f"LLAMACFFI_ENGINE names {name}, which was not taken: {reason}"


def test_a_name_that_there_is_not_is_an_error(tmp_path: Path) -> None:
    assert complaint(tmp_path, "rocm") == "LLAMACFFI_ENGINE should be one of cuda13, vulkan, cpu, not 'rocm'"


def test_the_build_tells_its_engine_and_backends() -> None:
    info = llamacffi.build_info()
    assert info.engine == "cpu"
    assert set(info.backends) >= {"cpu", "rpc"}
