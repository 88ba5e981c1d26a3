"""The engine llamacffi-vulkan computes on a device what the package's own does on the CPU, and is left where none is.

Needs llamacffi-vulkan, installed beside llamacffi, and Debian's mesa-vulkan-drivers: lavapipe, a device in software.
llama.cpp takes no such device by itself, so GGML_VK_VISIBLE_DEVICES names it. `nox -s engine -- vulkan` does it all.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.checkout import PROGRAMS
from support.processes import Ended, output_of, run, run_python

pytestmark = pytest.mark.engine

DEVICE = {"LLAMACFFI_ENGINE": "vulkan", "GGML_VK_VISIBLE_DEVICES": "0"}
INFO = "import json, llamacffi; print(json.dumps(llamacffi.build_info()._asdict()))"


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, **variables}


def info(**variables: str) -> Any:
    return json.loads(output_of(sys.executable, "-c", INFO, env=environment(**variables)))


def complaint(ended: Ended) -> str:
    assert ended.returncode == 1, (ended.returncode, ended.stderr)
    return ended.stderr.splitlines()[-1]


# ---------------------------------------------------------------- the choice


def test_it_is_taken_where_a_device_is_here() -> None:
    told = info(GGML_VK_VISIBLE_DEVICES="0")
    assert (told["engine"], "vulkan" in told["backends"]) == ("vulkan", True)


def test_nothing_is_printed_by_an_import() -> None:
    assert run_python("import llamacffi", env=environment(**DEVICE)).stderr == ""


NONE = {
    "no device but one in software": {},
    "no driver": {"VK_DRIVER_FILES": "/none.json", "VK_ICD_FILENAMES": "/none.json"},
    "a device that there is not": {"GGML_VK_VISIBLE_DEVICES": "99"},
}


@pytest.mark.parametrize("variables", NONE.values(), ids=NONE)
def test_the_own_engine_is_taken_where_none_is(variables: dict[str, str]) -> None:
    told = info(**variables)
    assert (told["engine"], told["not_taken"]["vulkan"]) == ("cpu", "no driver of a vulkan device was found")


def test_it_is_an_error_to_name_it_there() -> None:
    ended = run_python(INFO, env=environment(LLAMACFFI_ENGINE="vulkan"))
    assert complaint(ended) == (
        "ImportError: LLAMACFFI_ENGINE names vulkan, which was not taken: no driver of a vulkan device was found"
    )


# ---------------------------------------------------------------- what it computes

OFFLOADED = """
import sys
import llamacffi
from llamacffi import llama_cpp as llama
lines = []
@llama.llama_log_callback
def keep(level, text, data):
    lines.append(text.decode())
llama.llama_log_set(keep, None)
params = llama.llama_model_default_params()
params.n_gpu_layers = int(sys.argv[2])
model = llama.llama_model_load_from_file(sys.argv[1].encode(), params)
print(llama.llama_supports_gpu_offload())
print(next(line for line in lines if "offloaded" in line).strip())
"""


def complete(model: Path, folder: Path, count: int, **variables: str) -> tuple[list[str], Any]:
    """Complete a prompt greedily; the tokens, and the last logits."""
    arguments = (model, "The capital of France is", str(count), "2", folder / "logits")
    tokens = output_of(sys.executable, PROGRAMS / "greedy.py", *arguments, env=environment(**variables)).split()
    return tokens, np.frombuffer((folder / "logits").read_bytes(), np.float32)


# A real model's weights are quantized, and so are, in another way on each side, what they are multiplied with: of 12
# tokens the sixth differs, which is as likely as its rival.
PRECISION = {"tiny_path": (12, 1 / 100), "model_path": (4, 1 / 20)}


@pytest.mark.parametrize("which", PRECISION)
def test_the_device_computes_what_the_cpu_does(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The same tokens, and the logits within a part of their range."""
    count, part = PRECISION[which]
    model = request.getfixturevalue(which)
    tokens, logits = complete(model, tmp_path, count, **DEVICE)
    expected, exact = complete(model, tmp_path, count, LLAMACFFI_ENGINE="cpu")
    assert tokens == expected
    assert np.abs(logits - exact).max() < np.ptp(exact) * part


@pytest.mark.parametrize("layers", [0, 1, 99])
def test_layers_are_put_on_the_device(layers: int, tiny_path: Path) -> None:
    supports, offloaded = output_of(
        sys.executable, "-c", OFFLOADED, tiny_path, str(layers), env=environment(**DEVICE)
    ).splitlines()
    assert supports == "True"
    assert offloaded.endswith(f"offloaded {min(layers, 2)}/2 layers to GPU")


# ---------------------------------------------------------------- failures and forks


def test_a_child_process_of_one_that_imported_it_computes(tiny_path: Path, tmp_path: Path) -> None:
    code = f"""
import os, sys, runpy
import llamacffi
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
runpy.run_path({str(PROGRAMS / "greedy.py")!r}, run_name="__main__")
"""
    arguments = (tiny_path, "The capital of France is", "12", "2", tmp_path / "logits")
    ended = run(sys.executable, "-c", code, *arguments, env=environment(**DEVICE))
    assert (ended.returncode, ended.stdout.split()) == (0, complete(tiny_path, tmp_path, 12, **DEVICE)[0]), ended.stderr


MEMORY = """
import sys
from llamacffi import llama_cpp as llama
model = llama.llama_model_load_from_file(sys.argv[1].encode(), llama.llama_model_default_params())
params = llama.llama_context_default_params()
params.n_ctx = 2**31
try:
    print(llama.llama_init_from_model(model, params))
except Exception as error:
    print(type(error).__name__)
params.n_ctx = 64
print(bool(llama.llama_init_from_model(model, params)))
"""


def test_memory_that_the_device_does_not_have_is_no_death(tiny_path: Path) -> None:
    ended = run_python(MEMORY, tiny_path, env=environment(**DEVICE))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "True"
