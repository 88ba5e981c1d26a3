"""C programs built against the headers and the static libraries that the extension was linked from."""

from __future__ import annotations

import os
from pathlib import Path

from support.checkout import LIBRARIES, source, static_library
from support.processes import output_of


def build(code: str, folder: Path) -> Path:
    """Compile C code in a folder; return the program's path."""
    (folder / "program.c").write_text(code)
    includes = [f"-I{source() / 'include'}", f"-I{source() / 'ggml' / 'include'}"]
    output_of(os.environ.get("CC", "cc"), "-c", "-w", *includes, "program.c", "-o", "program.o", cwd=folder)
    libraries = ["-Wl,--start-group", *map(str, map(static_library, LIBRARIES)), "-Wl,--end-group"]
    system = ["-lpthread", "-ldl", "-lm"]
    output_of(os.environ.get("CXX", "c++"), "program.o", "-o", "program", *libraries, *system, cwd=folder)
    return folder / "program"
