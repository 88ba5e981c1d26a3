"""`llamacffi.build_info()` tells what was built and what runs; what does not fit CPU or build is a sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import llamacffi
from support.checkout import ROOT
from support.processes import Ended, emulator, output_of, run, run_python, tool

LEVELS = ROOT / "csrc" / "cpu_levels.cmake"
JOIN = ROOT / "csrc" / "cpu_levels.py"
PIN = tomllib.loads((ROOT / "third_party" / "llama.cpp" / "pin.toml").read_text())["source"]


def ask(level: str) -> Ended:
    code = "import llamacffi; print(llamacffi.build_info().reason)"
    return run_python(code, env={**os.environ, "LLAMACFFI_CPU": level})


def complaint(ended: Ended, start: str) -> str:
    """Return the line that a failure ends with, without its start."""
    assert ended.returncode == 1, (ended.returncode, ended.stderr)
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(start)
    return last.removeprefix(start)


# ---------------------------------------------------------------- what it tells


def test_it_tells_the_version_and_the_commit_of_the_pin() -> None:
    info = llamacffi.build_info()
    assert (info.version, info.llama_cpp) == (llamacffi.__version__, PIN["commit"])


def test_it_tells_the_compiler() -> None:
    assert re.fullmatch(r"\w+ \d+(\.\d+)+", llamacffi.build_info().compiler)


def test_the_level_that_runs_is_one_of_those_that_were_built() -> None:
    info = llamacffi.build_info()
    assert info.cpu_level in info.cpu_levels
    assert info.reason in repr(info)


# ---------------------------------------------------------------- LLAMACFFI_CPU


def test_an_unknown_level_is_refused_with_what_can_run_here() -> None:
    said = complaint(ask("v9"), "ImportError: ")
    start = "LLAMACFFI_CPU should name a level of this build of llamacffi, not 'v9'; what can run here: "
    assert said.startswith(start)
    assert llamacffi.build_info().cpu_level in said.removeprefix(start).split(", ")


def test_a_name_that_is_no_text_is_refused_like_another() -> None:
    said = complaint(ask("v\udcff"), "ImportError: ")
    assert said.startswith("LLAMACFFI_CPU should name a level of this build of llamacffi, not 'v\ufffd'")


def test_a_level_that_can_run_is_taken_when_it_is_named() -> None:
    assert ask(llamacffi.build_info().cpu_level).stdout == "LLAMACFFI_CPU names it\n"


@pytest.mark.wheel
def test_a_cpu_that_no_level_of_this_build_can_run_on_gets_a_sentence() -> None:
    """Whatever was built: it wants qemu-user, which plays a CPU of the least kind."""
    ended = run(emulator("x86_64"), "-cpu", "qemu64", sys.executable, "-c", "import llamacffi")
    said = complaint(ended, "ImportError: ")
    needs = ", ".join(rf"{level} needs \S+" for level in reversed(llamacffi.build_info().cpu_levels))
    assert re.fullmatch(
        rf"this build of llamacffi cannot run on this CPU \({needs}\): build it on this machine, .*", said
    )


# ---------------------------------------------------------------- LLAMACFFI_LEVELS


def configure(levels: str, processor: str = "x86_64", *options: str) -> str:
    """Return what stops CMake where it reads which levels to build."""
    given = (f"-DLLAMACFFI_LEVELS={levels}", f"-DCMAKE_SYSTEM_PROCESSOR={processor}", *options)
    ended = run(tool("cmake"), *given, "-P", LEVELS)
    assert ended.returncode == 1, ended.stderr
    return re.sub(r"\s+", " ", ended.stderr)


@pytest.mark.parametrize(
    ("processor", "known"),
    [("x86_64", "v2, v3, v3-vnni, v4, v4-vnni, amx"), ("aarch64", "armv8.0, dotprod, i8mm, sve")],
)
def test_a_level_that_there_is_not_stops_the_build(processor: str, known: str) -> None:
    said = configure("v9", processor)
    assert f"llamacffi: LLAMACFFI_LEVELS should be 'all' or levels of {processor} ({known}), not 'v9'" in said


@pytest.mark.parametrize("system", ["WIN32", "APPLE"])
def test_several_levels_where_there_is_no_elf_stop_the_build(system: str) -> None:
    said = configure("all", "x86_64", f"-D{system}=ON")
    assert "llamacffi: LLAMACFFI_LEVELS names 6 CPU levels, but only ELF systems can have several" in said


def test_a_cross_build_must_name_its_levels() -> None:
    """This machine's own level is not the other machine's, and upstream's default would be no SIMD at all."""
    said = configure("", "aarch64", "-DCMAKE_CROSSCOMPILING=ON")
    assert "name the CPU levels with LLAMACFFI_LEVELS=all, or one of them" in said


# ---------------------------------------------------------------- levels that do not fit together


def join(folder: Path, **codes: str | tuple[str, ...]) -> Ended:
    """Compile the C++ files of each level, and join them."""
    levels: list[str] = []
    for level, given in codes.items():
        levels += ["--level", level]
        for number, code in enumerate([given] if isinstance(given, str) else given):
            source, compiled = folder / "code.cpp", f"{level}-{number}.in.o"
            source.write_text(code)
            compiler = [os.environ.get("CXX", "c++"), "-c", "-fPIC", "-fvisibility=hidden", "-fdata-sections"]
            output_of(*compiler, source.name, "-o", compiled, cwd=folder)
            levels.append(compiled)
    programs = [part for name in ("ld", "objcopy", "readelf") for part in (f"--{name}", name)]
    command: list[str | Path] = [
        sys.executable,
        JOIN,
        "--output",
        "out",
        "--machine",
        os.uname().machine,
        *programs,
        *levels,
    ]
    return run(*command, cwd=folder)


PUBLIC = (
    'extern "C" const int llamacffi_cpu_needs = 1;\n#define PUBLIC extern "C" __attribute__((visibility("default")))\n'
)
LEVEL = PUBLIC + "inline int shared() { return %d; }\nPUBLIC int f() { return shared(); }\n"


def test_a_function_that_another_level_lacks_stops_the_build(tmp_path: Path) -> None:
    ended = join(tmp_path, v2=LEVEL % 2, v3=LEVEL % 3 + "PUBLIC int g() { return 0; }\n")
    said = complaint(ended, "llamacffi: ")
    assert said == "the CPU level v3 has public functions that another lacks: g"


def test_a_static_constructor_stops_the_build(tmp_path: Path) -> None:
    constructor = "#include <cstdlib>\nstatic int at_start = std::rand();\nPUBLIC int h() { return at_start; }\n"
    said = complaint(join(tmp_path, v2=LEVEL % 2, v3=PUBLIC + constructor), "llamacffi: ")
    assert said == "the CPU level v3 has a static constructor (.init_array), which would run on every CPU"


def test_a_level_that_is_compiled_like_another_stops_the_build(tmp_path: Path) -> None:
    said = complaint(join(tmp_path, v2=LEVEL % 2, v3=LEVEL % 2), "llamacffi: ")
    assert said == "the CPU level v3 was compiled like those before it, and so has no use"


MAIN = """
#include <cstdio>
extern "C" int f();
struct level { const char *name; const int *needs; const void *functions; };
extern "C" const level llamacffi_cpu_levels[];
extern "C" const void *llamacffi_cpu_functions;
int main() {
    std::printf("%d", f());
    for (const level *one = llamacffi_cpu_levels; one->name; ++one) {
        llamacffi_cpu_functions = one->functions;
        std::printf(" %s %d %d", one->name, *one->needs, f());
    }
}
"""


def test_each_level_keeps_its_own_inline_functions_and_the_least_runs_until_one_is_chosen(tmp_path: Path) -> None:
    assert join(tmp_path, v2=LEVEL % 2, v3=LEVEL % 3).returncode == 0
    assert run_with_levels(MAIN, tmp_path) == "2 v3 1 3 v2 1 2"


def run_with_levels(main: str, folder: Path) -> str:
    (folder / "main.cpp").write_text(main)
    made = [folder / "out" / name for name in ("cpu_levels.S", "v2.o", "v3.o")]
    subprocess.run([os.environ.get("CXX", "c++"), "main.cpp", *made, "-o", "main"], cwd=folder, check=True)
    return output_of(folder / "main")


# What is alike in both levels calls what is not, uses data that is zero at the start, or data of each level.
CALLS = PUBLIC + "int own();\nextern int zero[4];\nPUBLIC int f() { return own() + zero[0]; }\n"
READS = PUBLIC.partition("\n")[2] + "extern int started;\nPUBLIC int g() { return started; }\n"
DIFFERS = READS.partition("\n")[0] + (
    "\nint own() { return %d; }\nint started = %d;\n"
    "alignas(%d) int zero[4];\nPUBLIC void set() { zero[0] = 10; }\n"
    "PUBLIC int misaligned() { return (long)zero %% %d; }\n"
)
BOTH = """
#include <cstdio>
extern "C" int f();
extern "C" int g();
extern "C" int misaligned();
extern "C" void set();
struct level { const char *name; const int *needs; const void *functions; };
extern "C" const level llamacffi_cpu_levels[];
extern "C" const void *llamacffi_cpu_functions;
int main() {
    set();
    for (const level *one = llamacffi_cpu_levels; one->name; ++one) {
        llamacffi_cpu_functions = one->functions;
        std::printf("%s %d %d %d ", one->name, f(), g(), misaligned());
    }
}
"""


def test_what_is_alike_is_there_once_and_calls_the_chosen_level(tmp_path: Path) -> None:
    codes = {level: (CALLS, READS, DIFFERS % (n, n, 1 << n, 1 << n)) for level, n in (("v2", 5), ("v3", 7))}
    ended = join(tmp_path, **codes)
    assert ended.returncode == 0, ended.stderr
    assert run_with_levels(BOTH, tmp_path) == "v3 17 7 0 v2 15 5 0 "
    names = {
        line.split()[-1] for line in output_of("nm", "-g", "--defined-only", tmp_path / "out" / "v2.o").splitlines()
    }
    assert {"f__v2__v3", "g__v2", "_Z3ownv__v2"} <= names
