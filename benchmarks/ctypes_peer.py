"""Build the peer, llama-cpp-python of the pinned version, as pip builds it: `python -m benchmarks.ctypes_peer`.

It gets an environment of its own, below build/, with the same Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from benchmarks.workers import ROOT

FOLDER = ROOT / "build" / "ctypes_peer"
# GCC 12 compiles llama.cpp's AMX functions so that they end the process (llama.cpp #20824).
WITHOUT_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"


def python() -> Path | None:
    """Return the interpreter that has it, if it is built."""
    found = FOLDER / "bin" / "python"
    return found if found.exists() and package_of(found) else None


def package_of(interpreter: Path) -> Path | None:
    """Return the folder of the package `llama_cpp` that an interpreter has."""
    program = "import importlib.util as u; print(*u.find_spec('llama_cpp').submodule_search_locations)"
    ended = subprocess.run([interpreter, "-c", program], capture_output=True, text=True)
    return Path(ended.stdout.strip()) if ended.returncode == 0 else None


def has_amx() -> bool:
    return " amx_tile " in Path("/proc/cpuinfo").read_text(encoding="ascii")


def build() -> None:
    pin = tomllib.loads((ROOT / "third_party" / "llama.cpp" / "pin.toml").read_text(encoding="utf-8"))["source"]
    environment = dict(os.environ)
    if has_amx():
        flags = f'-DCMAKE_C_FLAGS="{WITHOUT_AMX}" -DCMAKE_CXX_FLAGS="{WITHOUT_AMX}"'
        environment["CMAKE_ARGS"] = f"{flags} {environment.get('CMAKE_ARGS', '')}"
    subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
    wanted = f"llama-cpp-python=={pin['version']}"
    command = [str(FOLDER / "bin" / "pip"), "install", "--no-binary", "llama-cpp-python", wanted]
    subprocess.run(command, check=True, env=environment)


if __name__ == "__main__":
    build()
