"""What is linked from the static libraries that the extension was linked from: programs in C, and a shared library."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import llamacffi
from bindgen import trim_header
from support.checkout import LIBRARIES, ROOT, source, static_library
from support.processes import output_of

SYSTEM = ("-lpthread", "-ldl", "-lm")
WAITS = "waits.c"  # what is compiled in the place of ggml-cpu.c, and includes it
DEFINES = "-DLLAMACFFI_GGML_CPU_C="  # as which file


def build(code: str, folder: Path, *objects: Path) -> Path:
    """Compile C code in a folder, and link these objects before the libraries; return the program's path."""
    (folder / "program.c").write_text(code)
    includes = [f"-I{source() / folder}" for folder in trim_header.FOLDERS]
    output_of(os.environ.get("CC", "cc"), "-c", "-w", *includes, "program.c", "-o", "program.o", cwd=folder)
    libraries = ["-Wl,--start-group", *map(str, map(static_library, LIBRARIES)), "-Wl,--end-group"]
    _link("program.o", *map(str, objects), "-o", "program", *libraries, cwd=folder)
    return folder / "program"


def upstream_ggml_cpu(folder: Path, level: str = "") -> Path:
    """Compile llama.cpp's ggml-cpu.c as the build compiles ours, to an object that waits in upstream's way.

    Where there are several CPU levels, only their stubs are to be linked from outside: then all else of the level is in
    the object as well.

    Args:
        folder: where the object goes.
        level: one of several; the least, which is what C programs compute with, if it is not named.
    """
    levels = llamacffi.build_info().cpu_levels
    target = f"ggml-cpu-{level or levels[0]}.dir" if len(levels) > 1 else "ggml-cpu.dir"
    entries = json.loads((ROOT / "build" / "native" / "compile_commands.json").read_text())
    entry = next(one for one in entries if Path(one["file"]).name == WAITS and target in Path(one["output"]).parts)
    given = _without_launcher(shlex.split(entry["command"]))
    upstream = next(part.removeprefix(DEFINES).strip('"') for part in given if part.startswith(DEFINES))
    command = [upstream if Path(part).name == WAITS else part for part in given if not part.startswith(DEFINES)]
    command[command.index("-o") + 1] = str(folder / "ggml-cpu.o")
    output_of(*command, cwd=entry["directory"])
    return _with_the_rest(folder, target) if len(levels) > 1 else folder / "ggml-cpu.o"


def _without_launcher(command: list[str]) -> list[str]:
    """Begin at the compiler: what was put before it, as ccache is, need not be there where the tests run."""
    return command[next(i for i, part in enumerate(command) if part.startswith("-")) - 1 :]


def _with_the_rest(folder: Path, target: str) -> Path:
    """Join upstream's ggml-cpu.c with what else was compiled for the level."""
    compiled = (ROOT / "build" / "native" / "CMakeFiles" / target).rglob("*.o")
    rest = [path for path in compiled if path.name not in (f"{WAITS}.o", "cpu_needs.cpp.o")]
    output_of("ld", "-r", "-o", folder / "level.o", folder / "ggml-cpu.o", *rest)
    return folder / "level.o"


def build_shared_library(folder: Path) -> Path:
    """Make one `libllama.so` of the static libraries, with everything that is in them; return its path.

    It is `libmtmd.so` as well, which llama-cpp-python loads by itself.
    """
    libraries = ["-Wl,--whole-archive", *map(str, map(static_library, LIBRARIES)), "-Wl,--no-whole-archive"]
    _link("-shared", "-Wl,--no-undefined", "-o", "libllama.so", *libraries, cwd=folder)
    (folder / "libmtmd.so").symlink_to("libllama.so")
    return folder / "libllama.so"


def _link(*arguments: str, cwd: Path) -> None:
    output_of(os.environ.get("CXX", "c++"), *arguments, *SYSTEM, cwd=cwd)
