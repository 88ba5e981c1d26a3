"""What the build makes, what it needs, and what it says where something is missing.

Nothing here compiles llama.cpp: each build stops at what it lacks.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llamacffi
from llamacffi import _llama
from support.checkout import PROGRAMS, ROOT, source
from support.processes import Ended, run

PACKAGE = Path(llamacffi.__file__).parent
EXTENSION = Path(_llama.__file__)


# What is installed


def test_the_extension_is_named_for_the_stable_abi() -> None:
    assert EXTENSION.name == "_llama.abi3.so"


def test_the_extension_exports_its_init_function_alone() -> None:
    listed = run("nm", "--dynamic", "--defined-only", EXTENSION)
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[-1] for line in listed.stdout.splitlines()] == ["PyInit__llama"]


def test_the_extension_asks_for_no_openmp_and_no_library_of_llama_cpp() -> None:
    """libgomp would clash with other packages' and hang after fork; llama.cpp is inside."""
    listed = run("objdump", "--private-headers", EXTENSION)
    needed = re.findall(r"NEEDED\s+(\S+)", listed.stdout)
    assert any(name.startswith("libc.") for name in needed)
    assert [name for name in needed if re.match(r"lib(gomp|omp|iomp|llama|ggml)", name)] == []


def test_the_licence_of_llama_cpp_is_installed_beside_ours() -> None:
    licences = {
        file.read_text()
        for file in importlib.metadata.files("llamacffi") or ()
        if file.name == "LICENSE" and "licenses" in file.parts
    }
    assert licences == {(source() / "LICENSE").read_text(), (ROOT / "LICENSE").read_text()}


def test_the_package_says_that_it_is_typed_and_which_version_it_is() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert llamacffi.__version__ == importlib.metadata.version("llamacffi")


# What a build needs


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout as it is cloned: without the source of llama.cpp and all that is built."""
    copy = tmp_path / "checkout"
    built = (".*", "build", "dist", "*.egg-info", "__pycache__", "source-*", "_llama*", "llama_cdef.h")
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*built, "tests", "benchmarks"))
    (copy / "third_party" / "llama.cpp" / "LICENSE").unlink(missing_ok=True)
    return copy


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment with no program on the path, no package index and an empty cache."""
    (tmp_path / "bin").mkdir()
    kept = {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin"), "TMPDIR": str(tmp_path)}
    return {**kept, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "LLAMACFFI_CACHE_DIR": str(tmp_path / "cache")}


def build(checkout: Path, env: dict[str, str]) -> Ended:
    return run(sys.executable, "setup.py", "build_ext", cwd=checkout, env=env)


def complaint(ended: Ended) -> str:
    """Return what a failed build says at its end: one line, no traceback."""
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    (said,) = [line for line in ended.stderr.splitlines() if line.startswith("llamacffi: ")]
    return said


PREPARE = "from setuptools import build_meta; print(build_meta.prepare_metadata_for_build_wheel('metadata'))"


def test_metadata_alone_neither_fetches_nor_compiles(checkout: Path, bare: dict[str, str]) -> None:
    (checkout / "metadata").mkdir()
    ended = run(sys.executable, "-c", PREPARE, cwd=checkout, env=bare)
    assert ended.returncode == 0, ended.stderr
    folder = checkout / "metadata" / ended.stdout.splitlines()[-1]
    assert "\nName: llamacffi\n" in (folder / "METADATA").read_text()
    assert list((checkout / "third_party" / "llama.cpp").glob("source-*")) == []
    assert not (checkout / "build").exists()
    assert not Path(bare["LLAMACFFI_CACHE_DIR"]).exists()


def test_a_build_without_index_and_source_says_what_to_do(checkout: Path, bare: dict[str, str]) -> None:
    """Shows too that the environment of the test above lets nothing be fetched."""
    ended = build(checkout, bare)
    assert "pip should have brought the file, but failed" in complaint(ended)
    assert "LLAMACFFI_LLAMA_CPP_DIR" in ended.stderr
    assert list((checkout / "third_party" / "llama.cpp").glob("source-*")) == []


def test_a_named_source_that_is_none_is_said_to_be_none(checkout: Path, bare: dict[str, str], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    said = complaint(build(checkout, {**bare, "LLAMACFFI_LLAMA_CPP_DIR": str(empty)}))
    assert "LLAMACFFI_LLAMA_CPP_DIR should name a llama.cpp checkout" in said
    assert str(empty) in said


@pytest.mark.parametrize(
    ("variable", "what"), [("CXX", "no C++ compiler"), ("CC", "no C compiler"), ("NINJA", "no Ninja")]
)
def test_a_missing_build_program_is_named_with_its_remedy(
    checkout: Path, bare: dict[str, str], variable: str, what: str
) -> None:
    programs = {"CXX": sys.executable, "CC": sys.executable, "NINJA": sys.executable, variable: "/nonexistent"}
    said = complaint(build(checkout, {**bare, **programs, "LLAMACFFI_LLAMA_CPP_DIR": str(source())}))
    assert what in said
    assert "/nonexistent" in said
    assert f"or set {variable}" in said


def test_a_missing_compiler_is_named_where_no_variable_names_one(checkout: Path, bare: dict[str, str]) -> None:
    said = complaint(build(checkout, {**bare, "LLAMACFFI_LLAMA_CPP_DIR": str(source())}))
    assert "no C++ compiler was found" in said
    assert "install g++ or clang" in said


def test_a_missing_cmake_is_named_with_its_remedy(checkout: Path, bare: dict[str, str]) -> None:
    programs = dict.fromkeys(("CXX", "CC", "NINJA"), sys.executable)
    said = complaint(build(checkout, {**bare, **programs, "LLAMACFFI_LLAMA_CPP_DIR": str(source())}))
    assert "cmake was not found" in said
    assert "pip install cmake" in said


def test_a_failed_cmake_step_is_named_and_its_reason_is_shown(checkout: Path, bare: dict[str, str]) -> None:
    cmake = Path(bare["PATH"], "cmake")
    cmake.write_text("#!/bin/sh\necho the llama is out\nexit 3\n")
    cmake.chmod(0o755)
    programs = dict.fromkeys(("CXX", "CC", "NINJA"), sys.executable)
    ended = build(checkout, {**bare, **programs, "LLAMACFFI_LLAMA_CPP_DIR": str(source())})
    assert "configuring llama.cpp with CMake failed (exit 3)" in complaint(ended)
    assert "the llama is out" in ended.stderr


# The same extension under every CPython


VERSION = "import sys; print('{}.{}'.format(*sys.version_info), sys.implementation.name)"


def interpreters() -> dict[str, Path]:
    """Find CPython from 3.11 on, by version: on the path, pyenv's, and the running one."""
    found = [Path(name) for minor in range(11, 20) if (name := shutil.which(f"python3.{minor}"))]
    found += [*Path.home().glob(".pyenv/versions/3.*/bin/python"), Path(sys.executable)]
    answers = {python: run(python, "-c", VERSION).stdout.split() for python in found}
    return {answer[0]: python for python, answer in answers.items() if is_supported(*answer)}


def is_supported(version: str = "0.0", name: str = "") -> bool:
    return name == "cpython" and tuple(map(int, version.split("."))) >= (3, 11)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder that has a copy of the installed package and nothing else."""
    folder = tmp_path / "site"
    shutil.copytree(PACKAGE, folder / "llamacffi", ignore=shutil.ignore_patterns("__pycache__"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def tokens_here(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the running interpreter generates with the installed package."""
    return generate(Path(sys.executable), model_path, tmp_path_factory.mktemp("here"), dict(os.environ))


def generate(python: Path, model: Path, folder: Path, env: dict[str, str]) -> str:
    arguments = (model, "The capital of France is", "8", "1", folder / "logits")
    ended = run(python, PROGRAMS / "greedy.py", *arguments, env=env, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + (folder / "logits").read_bytes().hex()


INTERPRETERS = interpreters()


@pytest.mark.parametrize("python", INTERPRETERS.values(), ids=INTERPRETERS)
def test_the_same_extension_generates_the_same_under(
    python: Path, site: Path, model_path: Path, tokens_here: str, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    assert run(python, "-m", "venv", "--without-pip", environment).returncode == 0
    installed = run(sys.executable, "-m", "pip", "--python", environment, "install", "--quiet", "cffi")
    assert installed.returncode == 0, installed.stderr
    env = {**os.environ, "PYTHONPATH": str(site)}
    assert generate(environment / "bin" / "python", model_path, tmp_path, env) == tokens_here
