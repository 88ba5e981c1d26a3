"""What is linked from the static libraries that the extension was linked from: programs in C, and a shared library."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

from support.checkout import LIBRARIES, ROOT, source, static_library
from support.processes import output_of

SYSTEM = ("-lpthread", "-ldl", "-lm")
WAITS = "waits.c"  # what is compiled in the place of ggml-cpu.c, and includes it
DEFINES = "-DLLAMACFFI_GGML_CPU_C="  # as which file


def build(code: str, folder: Path, *objects: Path) -> Path:
    """Compile C code in a folder, and link these objects before the libraries; return the program's path."""
    (folder / "program.c").write_text(code)
    includes = [f"-I{source() / 'include'}", f"-I{source() / 'ggml' / 'include'}"]
    output_of(os.environ.get("CC", "cc"), "-c", "-w", *includes, "program.c", "-o", "program.o", cwd=folder)
    libraries = ["-Wl,--start-group", *map(str, map(static_library, LIBRARIES)), "-Wl,--end-group"]
    _link("program.o", *map(str, objects), "-o", "program", *libraries, cwd=folder)
    return folder / "program"


def upstream_ggml_cpu(folder: Path, target: str = "") -> Path:
    """Compile llama.cpp's ggml-cpu.c as the build compiles ours, to an object that waits in upstream's way.

    Args:
        folder: where the object goes.
        target: a part of the path in which the build has its own, where it compiles it several times.
    """
    entries = json.loads((ROOT / "build" / "native" / "compile_commands.json").read_text())
    entry = next(one for one in entries if Path(one["file"]).name == WAITS and target in one["command"])
    given = shlex.split(entry["command"])
    upstream = next(part.removeprefix(DEFINES).strip('"') for part in given if part.startswith(DEFINES))
    command = [upstream if Path(part).name == WAITS else part for part in given if not part.startswith(DEFINES)]
    command[command.index("-o") + 1] = str(folder / "ggml-cpu.o")
    output_of(*command, cwd=entry["directory"])
    return folder / "ggml-cpu.o"


def build_shared_library(folder: Path) -> Path:
    """Make one `libllama.so` of the static libraries, with everything that is in them; return its path."""
    libraries = ["-Wl,--whole-archive", *map(str, map(static_library, LIBRARIES)), "-Wl,--no-whole-archive"]
    _link("-shared", "-Wl,--no-undefined", "-o", "libllama.so", *libraries, cwd=folder)
    return folder / "libllama.so"


def _link(*arguments: str, cwd: Path) -> None:
    output_of(os.environ.get("CXX", "c++"), *arguments, *SYSTEM, cwd=cwd)
