"""Instructions a call, counted by callgrind: of the extension alone, and of all that runs, CPython's part with it.

They are the same on a busy machine. valgrind knows no AVX-512: the extension must hold a CPU level that it can run
(`v3`: LLAMACFFI_LEVELS=v3 or all). Wants valgrind with its headers, a C compiler and Python's headers.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.workers import ROOT, context_of, import_api, open_model

GROUP = "instructions"
TIMES = 200
TOKEN = 200  # a byte of the tiny model
LEVEL = "v3"  # the newest that valgrind can run
EXTENSION = "_llama."


class Count(NamedTuple):
    """Instructions of one call."""

    of_extension: float
    of_all: float


def calls(api: Any, model: str) -> dict[str, tuple[Any, ...]]:
    loaded = open_model(api, model)
    context = context_of(api, loaded, n_ctx=64, n_threads=1, n_threads_batch=1)
    vocab = api.llama_model_get_vocab(loaded)
    tokens, piece = (ctypes.c_int32 * 64)(TOKEN), ctypes.create_string_buffer(64)
    if api.llama_decode(context, api.llama_batch_get_one(tokens, 1)) != 0:
        raise SystemExit("llama_decode failed")
    return {
        "llama_n_ctx": (context,),
        "llama_vocab_is_eog": (vocab, TOKEN),
        "llama_token_to_piece": (vocab, TOKEN, piece, 64, 0, False),
        "llama_batch_get_one": (tokens, 64),
        "llama_get_logits_ith": (context, -1),
        "llama_get_memory": (context,),
    }


def repeat(library: str, model: str) -> None:
    """Be the process that callgrind watches."""
    repeat_calls = ctypes.PyDLL(library).repeat_calls
    repeat_calls.argtypes = [ctypes.py_object, ctypes.py_object, ctypes.c_long, ctypes.c_char_p]
    api = import_api()
    for name, arguments in calls(api, model).items():
        function = getattr(api, name)
        function(*arguments)  # what is made on first use
        if repeat_calls(function, arguments, TIMES, name.encode()):
            raise SystemExit(f"{name} failed")


# ---------------------------------------------------------------- callgrind's files


def count(model: Path, python: str = sys.executable) -> dict[str, Count]:
    """Run the calls under callgrind and return what each took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = build(folder)
        options = [
            "--tool=callgrind",
            "--collect-atstart=no",
            "--instr-atstart=no",
            f"--callgrind-out-file={folder}/out",
        ]
        program = [python, "-m", "benchmarks.instructions", str(library), str(model)]
        environment = {**os.environ, "LLAMACFFI_CPU": LEVEL, "PYTHONHASHSEED": "0"}
        ended = subprocess.run(
            ["valgrind", *options, *program], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        if ended.returncode:
            raise SystemExit(f"valgrind ended with {ended.returncode}: {ended.stderr[-2000:]}")
        return dict(map(read, sorted(folder.glob("out.*"), key=lambda file: int(file.suffix[1:]))))


def build(folder: Path) -> Path:
    built = folder / "repeated_calls.so"
    include = sysconfig.get_path("include")
    source = ROOT / "benchmarks" / "repeated_calls.c"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", f"-I{include}", "-o", built, source], check=True)
    return built


def read(file: Path) -> tuple[str, Count]:
    """Read the function that a dump is of, and what it took."""
    text = file.read_text(encoding="utf-8")
    name = re.search(r"Client Request: (\w+)", text)
    assert name
    costs = list(costs_of(text))
    own = sum(cost for place, cost in costs if EXTENSION in place)
    return name[1], Count(own / TIMES, sum(cost for _, cost in costs) / TIMES)


def costs_of(text: str) -> Iterator[tuple[str, int]]:
    """Yield each line's own cost with the file of its object; a call's line below `calls=` has the callee's."""
    objects: dict[str, str] = {}
    place, skipped = "", False
    for line in text.splitlines():
        if found := re.match(r"(c?)ob=(\(\d+\))(?: (.*))?", line):  # named where it is first mentioned
            objects.setdefault(found[2], found[3] or "")
            place = place if found[1] else objects[found[2]]
        elif line.startswith("calls="):
            skipped = True
        elif found := re.match(r"[+*-]?\d*\*? (\d+)$", line):
            if not skipped:
                yield place, int(found[1])
            skipped = False


def measure(options: Any, results: Any) -> None:
    import llamacffi

    info = llamacffi.build_info()
    if LEVEL not in (info.cpu_levels or [info.cpu_level]) or not shutil.which("valgrind"):
        print(f"instructions: not counted, without valgrind or the CPU level {LEVEL} in the extension")
        return
    for name, found in count(Path(options.models[True])).items():
        results.add(GROUP, name, "extension", [found.of_extension], "integer")
        results.add(GROUP, name, "all", [found.of_all], "integer")


if __name__ == "__main__":
    repeat(*sys.argv[1:])
