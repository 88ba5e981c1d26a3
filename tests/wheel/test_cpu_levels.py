"""An extension with all CPU levels takes the best that a CPU can run, and each computes as upstream built for it.

Relies on an extension that was built in place with all levels, so that what it was linked from is in build/native, and
on qemu-user, which plays the CPUs that this one is not.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

import llamacffi
from support import c_programs
from support.checkout import PROGRAMS, ROOT
from support.processes import Ended, emulator, output_of, run

pytestmark = pytest.mark.wheel

NATIVE = ROOT / "build" / "native"
BUILT = llamacffi.build_info().cpu_levels
# What Linux calls that which makes a level more than those before it.
ALL_FLAGS = {
    "v2": {"sse4_2", "popcnt"},
    "v3": {"avx", "avx2", "fma", "f16c", "bmi2"},
    "v3-vnni": {"avx", "avx2", "fma", "f16c", "bmi2", "avx_vnni"},
    "v4": {"avx2", "fma", "f16c", "bmi2", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"},
    "v4-vnni": {"avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512vbmi", "avx512_vnni", "avx512_bf16"},
    "amx": {"avx512_vnni", "avx512_bf16", "avx512vbmi", "amx_tile", "amx_int8"},
}
FLAGS = {level: flags for level, flags in ALL_FLAGS.items() if level in BUILT}
IMPORT = "import llamacffi; print(llamacffi.build_info().cpu_level)"


def runnable() -> list[str]:
    """The levels that this CPU can run, as Linux tells it."""
    listed = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    assert listed
    return [level for level, needed in FLAGS.items() if needed <= set(listed[1].split())]


def emulated(cpu: str | None) -> list[str | Path]:
    """The command that runs Python on a CPU."""
    return [emulator("x86_64"), "-cpu", cpu, sys.executable] if cpu else [sys.executable]


def ask(cpu: str | None, level: str = "") -> Ended:
    """Import the package and print the level."""
    return run(*emulated(cpu), "-c", IMPORT, env={**os.environ, "LLAMACFFI_CPU": level})


def complaint(ended: Ended) -> str:
    assert ended.returncode == 1, (ended.returncode, ended.stderr)
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    return last.removeprefix("ImportError: ")


# ---------------------------------------------------------------- the choice


def test_all_levels_are_there() -> None:
    """Else the others ask for those that are, as `LLAMACFFI_LEVELS=v2,v3 nox -s pythons` has it."""
    assert tuple(ALL_FLAGS) == BUILT, "build with LLAMACFFI_LEVELS=all python setup.py build_ext --inplace"


def test_the_best_that_this_cpu_can_run_is_chosen() -> None:
    assert ask(None).stdout.split() == runnable()[-1:]


@pytest.mark.parametrize("level", FLAGS)
def test_a_level_that_is_named_is_taken_or_refused_with_what_can_run(level: str) -> None:
    ended = ask(None, level)
    if level in runnable():
        assert ended.stdout.split() == [level]
    else:
        assert re.fullmatch(
            rf"LLAMACFFI_CPU names the level {level}, which needs \S+, and this CPU lacks it; "
            rf"what can run here: {', '.join(reversed(runnable()))}",
            complaint(ended),
        )


CPUS = {"Nehalem": "v2", "SandyBridge": "v2", "Haswell": "v3"}


@pytest.mark.parametrize("cpu", CPUS)
def test_another_cpu_gets_the_level_that_is_made_for_it(cpu: str) -> None:
    ended = ask(cpu)
    assert (ended.stdout.split(), ended.returncode) == ([CPUS[cpu]], 0), ended.stderr


def test_a_level_that_another_cpu_lacks_is_refused() -> None:
    said = complaint(ask("Haswell", "v4"))
    assert said == (
        "LLAMACFFI_CPU names the level v4, which needs avx512f, and this CPU lacks it; what can run here: v3, v2"
    )


@pytest.mark.parametrize(("cpu", "lacking"), [("qemu64", "ssse3"), ("Conroe", "sse4.1")])
def test_a_cpu_that_can_run_none_gets_a_sentence(cpu: str, lacking: str) -> None:
    said = complaint(ask(cpu))
    assert said.startswith("this build of llamacffi cannot run on this CPU (amx needs ")
    assert f"v2 needs {lacking}): build it on this machine, with `pip install .`" in said


# ---------------------------------------------------------------- what a level computes


def upstream(level: str, folder: Path) -> Path:
    """Link the C program with the level's objects as they were compiled, and with upstream's waits."""
    return c_programs.build((PROGRAMS / "greedy.c").read_text(), folder, c_programs.upstream_ggml_cpu(folder, level))


def complete(command: list[str | Path], model: Path, count: int, folder: Path, **environment: str) -> str:
    """Complete a prompt: the tokens, and the last logits to the last bit."""
    arguments = (model, "The capital of France is", str(count), "1", folder / "logits")
    tokens = output_of(*command, *arguments, env={**os.environ, **environment})
    return tokens + (folder / "logits").read_bytes().hex()


@pytest.mark.parametrize("level", runnable())
def test_a_level_generates_what_upstream_does_when_built_for_it(level: str, model_path: Path, tmp_path: Path) -> None:
    ours = complete([sys.executable, PROGRAMS / "greedy.py"], model_path, 16, tmp_path, LLAMACFFI_CPU=level)
    assert ours == complete([upstream(level, tmp_path)], model_path, 16, tmp_path)


@pytest.mark.parametrize("cpu", CPUS)
def test_another_cpu_generates_what_upstream_does_when_built_for_it(cpu: str, tiny_path: Path, tmp_path: Path) -> None:
    ours = complete([*emulated(cpu), PROGRAMS / "greedy.py"], tiny_path, 8, tmp_path)
    assert ours == complete([upstream(CPUS[cpu], tmp_path)], tiny_path, 8, tmp_path)


# ---------------------------------------------------------------- what it is made of


def members() -> list[Path]:
    return [NATIVE / "levels" / f"{level}.o" for level in FLAGS]


def test_no_level_has_a_static_constructor() -> None:
    for path in members():
        assert re.findall(r"\.(?:init_array|ctors)\S*", output_of("readelf", "--sections", "--wide", path)) == []


def tables() -> dict[str, list[str]]:
    """What the stubs jump to, for each level."""
    text = (NATIVE / "levels" / "cpu_levels.S").read_text()
    found = re.findall(r"^functions__(\w+):\n((?:    \.quad .*\n)+)", text, re.M)
    return {level: re.findall(r"\.quad (.+)", table) for level, table in found}


def levels_of(name: str) -> set[str]:
    """The levels for which what has this name was compiled alike; none where it is not named for any."""
    labels = "|".join(sorted(map(label, FLAGS), key=len, reverse=True))
    ending = re.search(rf"(?:__(?:{labels}))+$", name)
    return set(ending[0].removeprefix("__").split("__")) if ending else set()


def label(level: str) -> str:
    return level.replace("-", "_")


def test_a_level_runs_what_was_compiled_for_it() -> None:
    found = tables()
    assert list(found) == [label(level) for level in reversed(FLAGS)]
    for level, functions in found.items():
        assert all(level in levels_of(function) for function in functions if function != "0")


def test_each_level_has_every_public_function() -> None:
    everything = [
        dict.fromkeys(re.sub(r"(__(v\d|amx)(_vnni)?)+$", "", name) for name in own) for own in tables().values()
    ]
    public = [{name for name in own if not name.startswith(("_Z", "0"))} for own in everything]
    assert all(mine == public[0] for mine in public)
    assert {"ggml_backend_cpu_reg", "ggml_graph_compute", "llamacffi_forget_workers"} <= public[0]


def test_levels_share_no_symbol_but_data_that_is_zero_at_the_start() -> None:
    """An inline function that all levels shared would be that of one of them, on any CPU."""
    for level, path in zip(FLAGS, members(), strict=True):
        names = {line.split()[-1] for line in output_of("nm", "-g", "--defined-only", path).splitlines()}
        own = {name for name in names if levels_of(name)}
        assert own
        assert all(min(levels_of(name), key=[*map(label, FLAGS)].index) == label(level) for name in own)
        sections = output_of("readelf", "--sections", "--wide", path)
        assert " GROUP " not in sections
        rows = (line.split() for line in output_of("readelf", "--symbols", "--wide", path).splitlines())
        zero = [row for row in rows if row and row[-1] in names - own]
        assert all(re.search(rf"\[ *{row[6]}\] \.bss\S* +NOBITS ", sections) for row in zero)


def test_what_is_compiled_alike_is_there_once() -> None:
    """Most of AVX-VNNI's, AVX-512 VNNI's and AMX's level is."""
    sizes = {level: path.stat().st_size for level, path in zip(FLAGS, members(), strict=True)}
    assert sizes["v3-vnni"] < sizes["v3"] / 2
    assert sizes["v4-vnni"] < sizes["v4"] * 0.7
    assert sizes["amx"] < sizes["v4"] * 0.7
