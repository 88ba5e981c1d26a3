"""Beside another llama.cpp in its process, and beside PyTorch and NumPy, each keeps its own and computes the same.

The other one is llama-cpp-python's: the Python files of the pinned archive, over shared libraries that upstream's CMake
builds here from the same archive, as that package has them built; they stay in build/peer. What each computes is
compared to the last bit with what it computes in a process of its own.

PyTorch is that of the system's Python (`apt-get install python3-torch`): the index's brings gigabytes for GPUs.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.checkout import PROGRAMS, ROOT, load_fetch, source
from support.processes import Ended, output_of, run, tool

pytestmark = pytest.mark.wheel

SYSTEM_PYTHON = "/usr/bin/python3"
LIBRARIES = ("libggml-base.so", "libggml-cpu.so", "libggml.so", "libllama.so")
# How the two come into the process. `preload` is LD_PRELOAD, before everything.
WAYS = (
    "ours theirs",
    "theirs ours",
    "global ours theirs",
    "theirs global ours",
    "ours global theirs",
    "ours theirs global",
    "preload ours theirs",
    "preload theirs ours",
)
# Not for this machine's CPU: upstream's AMX kernels end the process where gcc 12 has compiled them.
OPTIONS = ("BUILD_SHARED_LIBS=ON", "CMAKE_BUILD_TYPE=Release", "GGML_NATIVE=OFF", "LLAMA_BUILD_COMMON=OFF")

Computes = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def peer() -> Path:
    """The folder of llama-cpp-python's shared libraries."""
    folder = ROOT / "build" / "peer"
    output_of(tool("cmake"), "-G", "Ninja", "-S", source(), "-B", folder, *(f"-D{option}" for option in OPTIONS))
    output_of(tool("cmake"), "--build", folder, "--target", "llama")
    return folder / "bin"


@pytest.fixture(scope="session")
def environment(peer: Path) -> dict[str, str]:
    """Both engines can be imported, and the parts of beside.py."""
    package = load_fetch().extract("llama_cpp/*")
    paths = {"PYTHONPATH": f"{package}:{PROGRAMS}", "LLAMA_CPP_LIB_PATH": str(peer)}
    return {**os.environ, **paths, "GGML_NO_BACKTRACE": "1"}  # upstream's abort would start a debugger


def meet(environment: dict[str, str], way: str, *command: str | Path) -> Ended:
    """Run Python with the two coming in that way."""
    if way.startswith("preload"):
        libraries = " ".join(str(Path(environment["LLAMA_CPP_LIB_PATH"], name)) for name in LIBRARIES)
        environment = {**environment, "LD_PRELOAD": libraries}
    return run(sys.executable, *command, *way.removeprefix("preload").split(), env=environment)


def read(ended: Ended) -> Any:
    """Read what a process has printed that must end well."""
    assert ended.returncode == 0, f"ended with {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return json.loads(ended.stdout)


# ---------------------------------------------------------------- llama-cpp-python


@pytest.fixture(scope="module")
def alone(environment: dict[str, str], model_path: Path) -> dict[str, Any]:
    """What each of the two generates in a process of its own."""
    found: dict[str, Any] = {}
    for name in ("ours", "theirs"):
        found |= read(meet(environment, name, PROGRAMS / "beside.py", model_path))
    return found


def test_both_generate_the_same_tokens(alone: dict[str, Any]) -> None:
    assert alone["ours"][0][:-1] == alone["theirs"][0][:-1]


@pytest.mark.parametrize("way", WAYS)
def test_each_generates_what_it_does_alone(
    way: str, environment: dict[str, str], model_path: Path, alone: dict[str, Any]
) -> None:
    assert read(meet(environment, way, PROGRAMS / "beside.py", model_path)) == alone


START = """
import ctypes, json, pathlib, os, re, sys
import beside
path, *steps = sys.argv[1:]
modules = {step: beside.take(step) for step in steps}
ours, theirs = modules["ours"], modules["theirs"]
"""


@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith(("global", "preload")) or "global" in way])
def test_the_other_s_symbols_are_those_that_the_process_finds(
    way: str, environment: dict[str, str], tiny_path: Path
) -> None:
    """Else there would be nothing that ours had to be kept from."""
    code = "print(json.dumps([hasattr(ctypes.CDLL(None), name) for name in ('llama_decode', 'ggml_abort')]))"
    assert read(meet(environment, way, "-c", START + code, tiny_path)) == [True, True]


LOGS = """
heard, kept = {"ours": [], "theirs": []}, []
for name, lines in heard.items():
    listen = lambda level, text, data, lines=lines: lines.append(text.decode())
    kept.append(modules[name].llama_log_callback(listen))
    modules[name].llama_log_set(kept[-1], None)
for name in heard:
    assert not beside.load(modules[name], f"/missing/{name}")
print(json.dumps({name: sorted(set(re.findall(r"/missing/(\\w+)", "".join(lines)))) for name, lines in heard.items()}))
"""


@pytest.mark.parametrize("way", WAYS)
def test_the_log_callback_of_each_hears_that_one_alone(way: str, environment: dict[str, str], tiny_path: Path) -> None:
    told = read(meet(environment, way, "-c", START + LOGS, tiny_path))
    assert told == {"ours": ["ours"], "theirs": ["theirs"]}


FAILING = """
def fail(llama):
    context = beside.open_context(llama, beside.load(llama, path))
    llama.llama_sampler_sample(llama.llama_sampler_init_greedy(), context, -1)
"""
OURS_FAILS = f"""{FAILING}
import llamacffi
aborts = []
kept = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(aborts.append)
base = ctypes.CDLL(str(pathlib.Path(os.environ["LLAMA_CPP_LIB_PATH"], "libggml-base.so")))
base.ggml_set_abort_callback(kept)
before = beside.generate(theirs, path)
try:
    fail(ours)
except llamacffi.LlamaAssertionError as error:
    print(json.dumps(["GGML_ASSERT" in str(error), aborts, beside.generate(theirs, path) == before]))
"""


@pytest.mark.parametrize("way", WAYS)
def test_an_assertion_that_fails_in_ours_is_an_exception_of_which_the_other_does_not_learn(
    way: str, environment: dict[str, str], tiny_path: Path
) -> None:
    assert read(meet(environment, way, "-c", START + OURS_FAILS, tiny_path)) == [True, [], True]


@pytest.mark.parametrize("way", WAYS)
def test_an_assertion_that_fails_in_the_other_ends_the_process_as_it_does_without_ours(
    way: str, environment: dict[str, str], tiny_path: Path
) -> None:
    """What ours throws in the place of ending would leave the other's functions, which are not made for that."""
    ended = meet(environment, way, "-c", f"{START}{FAILING}\nfail(theirs)", tiny_path)
    assert ended.returncode == -signal.SIGABRT, ended.stderr
    assert "GGML_ASSERT(logits != nullptr) failed" in ended.stderr


HANDLES = """
import llamacffi
context = beside.open_context(theirs, beside.load(theirs, path))
try:
    ours.llama_n_ctx(context)
except llamacffi.LlamaValueError:
    print(json.dumps(theirs.llama_n_ctx(context)))
"""


@pytest.mark.parametrize("way", WAYS)
def test_a_handle_of_the_other_is_refused(way: str, environment: dict[str, str], tiny_path: Path) -> None:
    assert read(meet(environment, way, "-c", START + HANDLES, tiny_path)) == 512


# ---------------------------------------------------------------- NumPy and PyTorch


def product() -> str:
    """What beside.py's matrices give, by NumPy's own loops over integers: no BLAS has a part in that."""
    matrix = np.arange(600 * 600).reshape(600, 600) % 97
    numbers = (matrix @ matrix).astype(float).tolist()
    return hashlib.sha256(repr(numbers).encode()).hexdigest()


@pytest.mark.parametrize("order", ["numpy ours", "ours numpy"])
def test_numpy_s_threads_and_ours_compute_in_one_process(
    order: str, environment: dict[str, str], model_path: Path, alone: dict[str, Any]
) -> None:
    told = read(meet(environment, order, PROGRAMS / "beside.py", model_path))
    assert told == {"ours": alone["ours"], "numpy": [product()] * 2}


@pytest.fixture(scope="module")
def beside_torch(wheel: Path, model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Computes:
    """Run beside.py by the system's Python, with the wheel, and PyTorch from outside of the environment."""
    found = run(SYSTEM_PYTHON, "-c", "import torch")
    assert found.returncode == 0, f"PyTorch is needed: apt-get install python3-torch\n{found.stderr}"
    folder = tmp_path_factory.mktemp("torch")
    output_of(SYSTEM_PYTHON, "-m", "venv", "--without-pip", "--system-site-packages", folder)
    output_of(sys.executable, "-m", "pip", "--python", folder, "install", "--quiet", wheel)
    python = folder / "bin" / "python"
    return lambda *steps: read(run(python, PROGRAMS / "beside.py", model_path, *steps))


@pytest.mark.parametrize("order", ["torch ours", "ours torch", "numpy torch ours"])
def test_pytorch_s_threads_and_ours_compute_in_one_process(order: str, beside_torch: Computes) -> None:
    steps = order.split()
    expected = {step: [product()] * 2 for step in steps if step != "ours"}
    assert beside_torch(*steps) == {**expected, **beside_torch("ours")}
