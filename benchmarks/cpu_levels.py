"""Measure what one extension with all CPU levels costs against one that is compiled for this machine alone.

    python benchmarks/cpu_levels.py NATIVE [--levels] [--check]

NATIVE is the file of the other extension (`README.md` here says how to build it); the one with the levels is built in
place. Each gets a process of its own, and they take turns, a prompt and a generation each, so that what else the
machine does meets both; the median of the rounds' ratios counts. `--check` ends with 1 where the chosen level reaches
less than 0.97 of the native build's speed.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "llamacffi"

NATIVE = "native"
TASKS = ("prompt", "generation")
PROMPT = 512  # tokens
GENERATED = 64
LEAST = 0.97  # of the native build's speed


# ---------------------------------------------------------------- one process


def work(model: str) -> None:
    """Be one of the processes: a line in, the tokens a second of prompt and generation out."""
    import llamacffi
    from llamacffi import llama_cpp as llama

    llamacffi.log_to("quiet")
    loaded = llama.llama_model_load_from_file(os.fsencode(model), llama.llama_model_default_params())
    params = llama.llama_context_default_params()
    params.n_ctx = 2 * PROMPT
    params.n_batch = params.n_ubatch = PROMPT
    params.n_threads = params.n_threads_batch = llamacffi.usable_cpus()
    context = llama.llama_init_from_model(loaded, params)
    print(llamacffi.build_info().cpu_level, flush=True)
    for _ in sys.stdin:
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        print(speed(context, PROMPT, 1), speed(context, 1, GENERATED), flush=True)


def speed(context: int, size: int, times: int) -> float:
    """Decode so many tokens so many times; return tokens a second."""
    from llamacffi import llama_cpp as llama

    tokens = (ctypes.c_int32 * size)(*[5 + i % 200 for i in range(size)])
    start = time.perf_counter()
    for _ in range(times):
        if llama.llama_decode(context, llama.llama_batch_get_one(tokens, size)) != 0:
            raise SystemExit("llama_decode failed")
    return size * times / (time.perf_counter() - start)


class Process:
    """A process with one engine, which measures a round when it is told to."""

    def __init__(self, package: Path, model: Path, level: str = "") -> None:
        env = os.environ | {"PYTHONPATH": str(package.parent), "LLAMACFFI_CPU": level}
        command = [sys.executable, __file__, "--work", str(model)]
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.level = self.answer().strip()

    def answer(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a process that measures ended with {self.process.wait()}")
        return line

    def round(self) -> dict[str, float]:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return dict(zip(TASKS, map(float, self.answer().split()), strict=True))


# ---------------------------------------------------------------- the table

Rounds = dict[str, list[dict[str, float]]]  # by engine


def measure(engines: dict[str, Process], rounds: int) -> Rounds:
    found: Rounds = {name: [] for name in engines}
    for turn in range(rounds + 1):
        for name in sorted(engines, reverse=bool(turn % 2)):
            result = engines[name].round()
            if turn:  # the first one warms up
                found[name].append(result)
    return found


def ratio(found: Rounds, engine: str, task: str) -> float:
    pairs = zip(found[engine], found[NATIVE], strict=True)
    return statistics.median(ours[task] / native[task] for ours, native in pairs)


def show(found: Rounds) -> None:
    print(f"{'tokens a second':16}" + "".join(f"{task:>14}{'of native':>11}" for task in TASKS))
    for engine, results in found.items():
        cells = [(statistics.median(one[task] for one in results), ratio(found, engine, task)) for task in TASKS]
        print(f"{engine:16}" + "".join(f"{speed:14.1f}{part:11.3f}" for speed, part in cells))


def show_size(name: str, extension: Path, folder: Path) -> None:
    with zipfile.ZipFile(folder / "zip", "w", zipfile.ZIP_DEFLATED) as archive:  # as wheels are
        archive.write(extension)
    print(f"{name}: {extension.stat().st_size:,} bytes, {(folder / 'zip').stat().st_size:,} in a zip")


def check(found: Rounds, engine: str) -> bool:
    ratios = {task: ratio(found, engine, task) for task in TASKS}
    for task, reached in ratios.items():
        print(f"{'met   ' if reached >= LEAST else 'MISSED'}  {task} at {LEAST} of native or more: {reached:.3f}")
    return min(ratios.values()) >= LEAST


def main() -> int:
    """Print the table and the sizes; with --check, return 1 where the chosen level is too slow."""
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2])
        return 0
    import llamacffi
    from llamacffi import default_model

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("native", type=Path, metavar="NATIVE", help="_llama.abi3.so that was built for this machine")
    parser.add_argument("--model", type=Path, help="a GGUF file (default: the demo's)")
    parser.add_argument("--rounds", type=int, default=15, help="(default: %(default)s)")
    parser.add_argument("--levels", nargs="*", default=[], help="measure these levels too")
    parser.add_argument("--check", action="store_true", help="hold the ratio")
    given = parser.parse_args()
    model = given.model or default_model.model_path()
    with tempfile.TemporaryDirectory() as name:
        other = Path(name, "llamacffi")
        shutil.copytree(PACKAGE, other, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        shutil.copy(given.native, other / "_llama.abi3.so")
        chosen = Process(PACKAGE, model)
        engines = {chosen.level: chosen, NATIVE: Process(other, model)}
        engines |= {level: Process(PACKAGE, model, level) for level in given.levels}
        found = measure(engines, given.rounds)
        for engine in engines.values():
            engine.process.communicate()
        show(found)
        show_size(", ".join(llamacffi.build_info().cpu_levels), PACKAGE / "_llama.abi3.so", Path(name))
        show_size(NATIVE, given.native, Path(name))
    return 0 if not given.check or check(found, chosen.level) else 1


if __name__ == "__main__":
    sys.exit(main())
