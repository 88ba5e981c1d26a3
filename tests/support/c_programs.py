"""What is linked from the static libraries that the extension was linked from: programs in C, and a shared library."""

from __future__ import annotations

import os
from pathlib import Path

from support.checkout import LIBRARIES, source, static_library
from support.processes import output_of

SYSTEM = ("-lpthread", "-ldl", "-lm")


def build(code: str, folder: Path) -> Path:
    """Compile C code in a folder; return the program's path."""
    (folder / "program.c").write_text(code)
    includes = [f"-I{source() / 'include'}", f"-I{source() / 'ggml' / 'include'}"]
    output_of(os.environ.get("CC", "cc"), "-c", "-w", *includes, "program.c", "-o", "program.o", cwd=folder)
    libraries = ["-Wl,--start-group", *map(str, map(static_library, LIBRARIES)), "-Wl,--end-group"]
    _link("program.o", "-o", "program", *libraries, cwd=folder)
    return folder / "program"


def build_shared_library(folder: Path) -> Path:
    """Make one `libllama.so` of the static libraries, with everything that is in them; return its path."""
    libraries = ["-Wl,--whole-archive", *map(str, map(static_library, LIBRARIES)), "-Wl,--no-whole-archive"]
    _link("-shared", "-Wl,--no-undefined", "-o", "libllama.so", *libraries, cwd=folder)
    return folder / "libllama.so"


def _link(*arguments: str, cwd: Path) -> None:
    output_of(os.environ.get("CXX", "c++"), *arguments, *SYSTEM, cwd=cwd)
