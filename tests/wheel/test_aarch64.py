"""The wheel that `nox -s aarch64` has built on another machine runs on aarch64, and computes there what it does here.

It needs qemu-user, which plays the CPUs, and root and debootstrap for what a Debian for them has: a CPython, unpacked
into build/arm64 and never installed. No file of that system is run but by qemu, so the kernel need know nothing of it.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamacffi import llama_cpp as llama
from support import tiny_model
from support.checkout import PROGRAMS, ROOT
from support.processes import Ended, emulator, output_of, run

pytestmark = [pytest.mark.wheel, pytest.mark.aarch64]

Logits = np.ndarray[Any, np.dtype[np.float32]]

SYSTEM = ROOT / "build" / "arm64"
SITE = SYSTEM / "site"
PYTHON = SYSTEM / "python"
LEVELS = ("armv8.0", "dotprod", "i8mm", "sve")
# What these have: a53 nothing, a64fx SVE but no dot product.
CPUS = {
    "cortex-a53": "armv8.0",
    "a64fx": "armv8.0",
    "cortex-a76": "dotprod",
    "neoverse-n1": "dotprod",
    "max,sve=off": "i8mm",
    "max": "sve",
}
IMPORT = "import llamacffi; print(llamacffi.build_info().cpu_level)"


@pytest.fixture(scope="module", autouse=True)
def system(cross_built_wheel: Path) -> None:
    """Unpack CPython, and install the wheel beside it."""
    if not (SYSTEM / "usr" / "bin" / "python3.11").exists():
        unpack_debian()
    PYTHON.write_text(f'#!/bin/sh\nexec {emulator("aarch64")} -L {SYSTEM} {SYSTEM}/usr/bin/python3.11 "$@"\n')
    PYTHON.chmod(0o755)
    shutil.rmtree(SITE, ignore_errors=True)
    only = ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_17_aarch64"]
    output_of(sys.executable, "-m", "pip", "install", "--quiet", *only, "--target", SITE, cross_built_wheel)


def unpack_debian() -> None:
    assert os.geteuid() == 0, "debootstrap needs root"
    shutil.rmtree(SYSTEM, ignore_errors=True)
    options = ["--arch=arm64", "--variant=minbase", "--include=python3.11,libstdc++6", "--download-only"]
    output_of("debootstrap", *options, "bookworm", SYSTEM)
    for package in (SYSTEM / "var" / "cache" / "apt" / "archives").glob("*.deb"):
        output_of("dpkg", "-x", package, SYSTEM)


def environment(cpu: str, level: str = "") -> dict[str, str]:
    own = {"PYTHONPATH": str(SITE), "QEMU_CPU": cpu, "LLAMACFFI_CPU": level, "LLAMACFFI_MAX_THREADS": "4"}
    return {**os.environ, **own}


def ask(cpu: str, level: str = "") -> Ended:
    """Import the package there and print the level."""
    return run(PYTHON, "-c", IMPORT, env=environment(cpu, level))


# ---------------------------------------------------------------- the choice


@pytest.mark.parametrize("cpu", CPUS)
def test_a_cpu_gets_the_level_that_is_made_for_it(cpu: str) -> None:
    ended = ask(cpu)
    assert (ended.stdout.split(), ended.returncode) == ([CPUS[cpu]], 0), ended.stderr


@pytest.mark.parametrize(
    ("cpu", "level", "lacking", "runnable"),
    [
        ("cortex-a53", "dotprod", "lse", "armv8.0"),
        ("cortex-a53", "sve", "lse", "armv8.0"),
        ("cortex-a76", "i8mm", "i8mm", "dotprod, armv8.0"),
        ("a64fx", "sve", "dotprod", "armv8.0"),
        ("max,sve=off", "sve", "sve", "i8mm, dotprod, armv8.0"),
    ],
)
def test_a_level_that_the_cpu_lacks_is_refused(cpu: str, level: str, lacking: str, runnable: str) -> None:
    ended = ask(cpu, level)
    assert ended.returncode == 1, (ended.returncode, ended.stderr)
    assert ended.stderr.splitlines()[-1] == (
        f"ImportError: LLAMACFFI_CPU names the level {level}, which needs {lacking}, and this CPU lacks it; "
        f"what can run here: {runnable}"
    )


# ---------------------------------------------------------------- what it computes


def complete(command: list[str | Path], model: Path, count: int, folder: Path, **options: Any) -> tuple[str, Logits]:
    """Complete a prompt with four threads: the tokens, and the last logits."""
    arguments = (PROGRAMS / "greedy.py", model, "The capital of France is", str(count), "4", folder / "logits")
    tokens = output_of(*command, *arguments, **options)
    return tokens, np.fromfile(folder / "logits", np.float32)


@pytest.mark.parametrize("cpu", CPUS)
def test_a_cpu_generates_what_this_one_does(cpu: str, tiny_path: Path, tmp_path: Path) -> None:
    here, _ = complete([sys.executable], tiny_path, 8, tmp_path)
    there, _ = complete([PYTHON], tiny_path, 8, tmp_path, env=environment(cpu))
    assert there == here


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_generates_with_a_real_model_what_this_cpu_does(level: str, model_path: Path, tmp_path: Path) -> None:
    here, _ = complete([sys.executable], model_path, 4, tmp_path)
    there, _ = complete([PYTHON], model_path, 4, tmp_path, env=environment("max", level))
    assert there == here


# What the levels differ in: products of quantized numbers, of which each has its own.
TYPES = {
    "F16": llama.LLAMA_FTYPE_MOSTLY_F16,
    "Q4_0": llama.LLAMA_FTYPE_MOSTLY_Q4_0,
    "Q8_0": llama.LLAMA_FTYPE_MOSTLY_Q8_0,
    "Q4_K": llama.LLAMA_FTYPE_MOSTLY_Q4_K_S,
    "Q6_K": llama.LLAMA_FTYPE_MOSTLY_Q6_K,
    "IQ4_NL": llama.LLAMA_FTYPE_MOSTLY_IQ4_NL,
}
# SVE's registers have 128 bits or more, as the CPU likes.
WIDTHS = [f"max,sve-max-vq={bits // 128}" for bits in (128, 256, 512)]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose rows are as long as the K types want."""
    return tiny_model.write(tmp_path_factory.mktemp("wide") / "wide.gguf", tiny_model.Shape(width=256))


def quantize(model: Path, kind: str, folder: Path) -> Path:
    params = llama.llama_model_quantize_default_params()
    params.ftype = TYPES[kind]
    path = folder / f"{kind}.gguf"
    assert llama.llama_model_quantize(os.fsencode(model), os.fsencode(path), ctypes.byref(params)) == 0
    return path


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("level", "cpu"), [*((level, "max") for level in LEVELS[:-1]), *(("sve", cpu) for cpu in WIDTHS)]
)
def test_a_level_computes_with_a_type_what_this_cpu_does(
    level: str, cpu: str, kind: str, wide: Path, tmp_path: Path
) -> None:
    """Nearly: each CPU quantizes in its own blocks what a weight is multiplied with; up to 0.058 was seen."""
    model = quantize(wide, kind, tmp_path)
    _, here = complete([sys.executable], model, 1, tmp_path)
    _, there = complete([PYTHON], model, 1, tmp_path, env=environment(cpu, level))
    assert np.abs(there - here).max() <= 0.1 * here.std()


# ---------------------------------------------------------------- what it is made of


def test_no_level_has_a_static_constructor() -> None:
    for level in LEVELS:
        joined = ROOT / "build" / "linux-aarch64" / "levels" / f"{level}.o"
        assert re.findall(r"\.(?:init_array|ctors)\S*", output_of("readelf", "--sections", "--wide", joined)) == []


# ---------------------------------------------------------------- the border
