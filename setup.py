"""Build `llamacffi._llama` with CMake and Ninja; everything else about the package is in pyproject.toml.

The source of llama.cpp is fetched only by the commands that need it, so that the package's metadata costs nothing.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE / "build" / os.environ.get("_PYTHON_HOST_PLATFORM", "native")  # a cross build has its own
PIN = HERE / "third_party" / "llama.cpp" / "pin.toml"
LICENCE = HERE / "third_party" / "llama.cpp" / "LICENSE"
FOLDERS = ("include", "ggml/include", "tools/mtmd")  # of llama.cpp's headers; bindgen/trim_header.py has them too
# A free-threaded CPython has no stable ABI before 3.15: the wheel is for that version alone.
STABLE_ABI = "" if sysconfig.get_config_var("Py_GIL_DISABLED") else "3.11"
WHEEL_OPTIONS = {"bdist_wheel": {"py_limited_api": f"cp{STABLE_ABI.replace('.', '')}"}} if STABLE_ABI else {}
NEEDS_SOURCE = {"bdist_wheel", "build", "build_ext", "develop", "editable_wheel", "install", "sdist"}


def load_fetch():
    spec = importlib.util.spec_from_file_location("fetch", HERE / "third_party" / "llama.cpp" / "fetch.py")
    fetch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fetch)
    return fetch


def find_source() -> pathlib.Path:
    """Fetch the pinned llama.cpp, and put its licence where pyproject.toml finds it for the wheel."""
    fetch = load_fetch()
    try:
        source = fetch.source_dir()
        shutil.copyfile(source / "LICENSE", LICENCE)
    except (RuntimeError, OSError) as error:
        raise SystemExit(f"llamacffi: {error}") from None
    return source


def run(step: str, *command: str) -> None:
    """Run one step of the native build; a failure ends with a sentence that says what to do."""
    try:
        subprocess.run(command, check=True, stdout=sys.stderr)
    except FileNotFoundError:
        raise SystemExit(
            f"llamacffi: {command[0]} was not found: install the package 'cmake' (pip install cmake)"
        ) from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"llamacffi: {step} failed (exit {error.returncode}); the reason stands above") from None


def require(what: str, *programs: str, variable: str, package: str) -> str:
    """Find a build program, or say in one sentence which one is missing."""
    names = [os.environ[variable].split()[0]] if os.environ.get(variable) else list(programs)
    for name in names:
        if found := shutil.which(name):
            return found
    raise SystemExit(
        f"llamacffi: no {what} was found (looked for {', '.join(names)}): install {package}, or set {variable}"
    )


class BuildNative(build_ext):
    engine = "cpu"

    def finalize_options(self) -> None:
        """Build in one folder whoever asks, so that the next build is incremental; `--build-temp` names another."""
        self.build_temp = str(pathlib.Path(self.build_temp or BUILD).absolute())
        super().finalize_options()

    def build_extension(self, extension: Extension) -> None:
        if sys.platform != "win32":
            require("C++ compiler", "c++", "g++", "clang++", variable="CXX", package="g++ or clang")
            require("C compiler", "cc", "gcc", "clang", variable="CC", package="gcc or clang")
        ninja = require("Ninja", "ninja", "ninja-build", variable="NINJA", package="the package 'ninja'")
        self.configure(ninja)
        run("compiling llama.cpp and the extension", "cmake", "--build", self.build_temp, "--target", "_llama")
        self.collect(extension)

    def configure(self, ninja: str) -> None:
        source, pin = find_source(), load_fetch().pin()
        run(
            "configuring llama.cpp with CMake",
            "cmake", "-S", str(HERE / "csrc"), "-B", self.build_temp, "-G", "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_MAKE_PROGRAM={ninja}",
            f"-DLLAMACFFI_SOURCE={source.as_posix()}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DLLAMACFFI_STABLE_ABI={STABLE_ABI}",
            "-DLLAMA_BUILD_NUMBER=0", f"-DLLAMA_BUILD_COMMIT={pin['commit']}",
            f"-DLLAMACFFI_LEVELS={os.environ.get('LLAMACFFI_LEVELS', '')}",
            f"-DLLAMACFFI_ENGINE={self.engine}",
            "-DLLAMACFFI_DEBUG=OFF",  # CMake's cache would remember what CMAKE_ARGS said the last time
            "-DGIT_EXE=",  # ggml would ask git for a commit, and get ours
            *shlex.split(os.environ.get("CMAKE_ARGS", "")),
        )  # fmt: skip

    def collect(self, extension: Extension) -> None:
        """Copy the built extension, the readable header and the stubs to where setuptools wants them."""
        target = self.collect_extension(extension)
        build = pathlib.Path(self.build_temp)
        shutil.copyfile(build / "generated" / "llama_cdef.h", target.with_name("llama_cdef.h"))
        self.collect_headers(build / "generated" / "llamacffi.h", target.with_name("include"))
        for stub in (build / "generated").glob("*.pyi"):
            shutil.copyfile(stub, target.with_name(stub.name))
        shutil.copyfile(PIN, target.with_name("pin.toml"))

    def collect_extension(self, extension: Extension) -> pathlib.Path:
        target = pathlib.Path(self.get_ext_fullpath(extension.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        built = pathlib.Path(self.build_temp).glob("_llama*")
        shutil.copyfile(next(path for path in built if path.suffix in (".so", ".pyd")), target)
        return target

    def collect_headers(self, own: pathlib.Path, target: pathlib.Path) -> None:
        """Put the headers of llama.cpp beside the one of ours that includes them, in the place of its library."""
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        source = find_source()
        for name in re.findall(r'#include "(.+)"', own.read_text(encoding="utf-8")):
            (header,) = (source / folder / name for folder in FOLDERS if (source / folder / name).exists())
            shutil.copyfile(header, target / name)
        shutil.copyfile(own, target / own.name)

    def copy_extensions_to_source(self) -> None:
        """Copy the headers too, but not the stubs, which beside the modules themselves would hide these from mypy."""
        super().copy_extensions_to_source()
        built, target = pathlib.Path(self.build_lib, "llamacffi"), HERE / "src" / "llamacffi"
        for name in ("llama_cdef.h", "pin.toml"):
            shutil.copyfile(built / name, target / name)
        shutil.copytree(built / "include", target / "include", dirs_exist_ok=True)


class WheelWithLicences(bdist_wheel):
    """pip asks for the metadata before the source is there, and llama.cpp's licence with it: put it in at the end."""

    def write_wheelfile(self, wheelfile_base, *arguments, **options):
        super().write_wheelfile(wheelfile_base, *arguments, **options)
        target = pathlib.Path(wheelfile_base) / "licenses" / LICENCE.relative_to(HERE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(LICENCE, target)


if NEEDS_SOURCE & set(sys.argv):
    find_source()

if __name__ == "__main__":  # add_ons/setup.py builds with what stands above
    setup(
        ext_modules=[Extension("llamacffi._llama", sources=[], py_limited_api=bool(STABLE_ABI))],
        cmdclass={"build_ext": BuildNative, "bdist_wheel": WheelWithLicences},
        options=WHEEL_OPTIONS,
    )
