"""Measure what the handle and bounds checks cost, and how much two threads do that one does not.

The extension is compiled and linked once more, from the same sources and with the same commands, but with
-DLLAMACFFI_UNCHECKED, into a temporary folder. Each build gets a process of its own; they take turns in rounds, and the
fastest round of each counts. Beside two threads stand two processes: what these reach together is what the machine has
to give at that time. Relies on a built source tree (build/native) and Ninja.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "native"

MOST_COST = {"llama_n_ctx": 15.0, "llama_token_to_piece": 30.0}  # nanoseconds
LEAST_THROUGHPUT = 1.7  # times that of one thread, for two
SPELL = 0.02  # seconds that one function is called in a round
TOKEN = 1000  # any token that is text
TOKENS_A_THREAD = 60
THREAD_ROUNDS = 5

Times = dict[str, float]


# ---------------------------------------------------------------- the second build


def build_unchecked(folder: Path) -> Path:
    """Compile and link as Ninja does, with the checks left out; return the folder to be found first by Python."""
    package = copy_of_package(folder)
    *compiling, linking = ninja_commands()
    module = next(command for command in compiling if command[-1].endswith("module.cpp"))
    run_in_build([*without_dependencies(redirected(module, "-o", folder / "module.o")), "-DLLAMACFFI_UNCHECKED"])
    linking = [str(folder / "module.o") if part.endswith("module.cpp.o") else part for part in linking]
    run_in_build(redirected(linking, "-o", package / "_llama.abi3.so"))
    return folder


def copy_of_package(folder: Path) -> Path:
    """Put the package there, without an extension."""
    package = folder / "llamacffi"
    shutil.copytree(ROOT / "src" / "llamacffi", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return package


def ninja_commands() -> list[list[str]]:
    """Return how each file of the extension's own is compiled and, last, how the extension is linked."""
    if not (BUILD / "build.ninja").exists():
        raise SystemExit(f"{BUILD} is not built: run `pip install -e . --no-build-isolation` first")
    listed = subprocess.run(
        ["ninja", "-t", "commands", "_llama"], cwd=BUILD, capture_output=True, text=True, check=True
    )
    lines = listed.stdout.splitlines()
    own = [shlex.split(line) for line in lines if " -o CMakeFiles/_llama.dir/" in line]
    return [*own, shlex.split(re.sub(r"^: && | && :$", "", lines[-1]))]


def redirected(command: list[str], option: str, target: Path) -> list[str]:
    """Let a command write elsewhere."""
    place = command.index(option)
    return [*command[: place + 1], str(target), *command[place + 2 :]]


def without_dependencies(command: list[str]) -> list[str]:
    """Leave the build's dependency file as it is."""
    kept = [part for part in command if part != "-MD"]
    for option in ("-MT", "-MF"):
        place = kept.index(option)
        del kept[place : place + 2]
    return kept


def run_in_build(command: list[str]) -> None:
    subprocess.run(command, cwd=BUILD, check=True)


# ---------------------------------------------------------------- a process for each build


class Build:
    """A process with one build, which measures a round when it is told to."""

    def __init__(self, first_on_path: Path | None, model: Path, task: str = "--measure") -> None:
        environment = os.environ | ({"PYTHONPATH": str(first_on_path)} if first_on_path else {})
        command = [sys.executable, __file__, task, "--model", str(model)]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.file = self.answer().strip()

    def answer(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process that measures ended with {self.process.wait()}")
        return line

    def start(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def round(self) -> list[float]:
        self.start()
        return [float(part) for part in self.answer().split()]


def measure(model: Path) -> None:
    """Be one of the processes: a line in, the nanoseconds a call of each function out."""
    from llamacffi import llama_cpp

    context, vocab = open_model(model)
    piece = bytearray(64)
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (llama_cpp.llama_n_ctx, (context,)),
        (llama_cpp.llama_token_to_piece, (vocab, TOKEN, piece, len(piece), 0, False)),
    ]
    timers = [timer(*call) for call in calls]
    counts = [max(1, int(SPELL * 10_000 / one.timeit(10_000))) for one in timers]
    print(sys.modules["llamacffi._llama"].__file__, flush=True)
    for _ in sys.stdin:
        times = (one.timeit(count) * 1e9 / count for one, count in zip(timers, counts, strict=True))
        print(*times, flush=True)


def timer(function: Any, given: tuple[Any, ...]) -> timeit.Timer:
    """Make a timer of the call alone: function and arguments are local variables."""
    names = [f"given{position}" for position in range(len(given))]
    setup = f"{', '.join(['function', *names])}, = bound"
    return timeit.Timer(f"function({', '.join(names)})", setup, globals={"bound": (function, *given)})


def open_model(path: Path) -> tuple[int, int]:
    """Return a context and the vocabulary."""
    from llamacffi import llama_cpp

    model = load(path)
    return open_context(model), llama_cpp.llama_model_get_vocab(model)


def load(path: Path) -> int:
    import logging

    import llamacffi
    from llamacffi import llama_cpp

    logging.getLogger("quiet").setLevel(logging.CRITICAL + 1)
    llamacffi.log_to("quiet")
    model = llama_cpp.llama_model_load_from_file(bytes(path), llama_cpp.llama_model_default_params())
    if not model:
        raise SystemExit(f"{path} is no model")
    return int(model)


def open_context(model: int) -> int:
    from llamacffi import llama_cpp

    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 256, 1, 1
    return int(llama_cpp.llama_init_from_model(model, params))


def compare(model: Path, rounds: int) -> dict[str, Times]:
    with tempfile.TemporaryDirectory() as folder:
        builds = {"checked": Build(None, model), "unchecked": Build(build_unchecked(Path(folder)), model)}
        if builds["checked"].file == builds["unchecked"].file:
            raise SystemExit(f"both processes imported {builds['checked'].file}")
        best = {name: [math.inf] * len(MOST_COST) for name in builds}
        for turn in range(rounds):
            for name in sorted(builds, reverse=bool(turn % 2)):
                best[name] = list(map(min, best[name], builds[name].round()))
        for build in builds.values():
            build.process.communicate()
    return {name: dict(zip(MOST_COST, times, strict=True)) for name, times in best.items()}


# ---------------------------------------------------------------- threads


def throughput(model: Path, rounds: int) -> dict[str, float]:
    """Return how many times as many tokens a second two threads decode as one, and two processes as one."""
    loaded = load(model)
    contexts = [open_context(loaded) for _ in range(2)]
    processes = [Build(None, model, "--generate") for _ in range(2)]
    rates = {"one": 0.0, "two threads": 0.0, "two processes": 0.0}
    for _ in range(rounds):
        rates["one"] = max(rates["one"], tokens_a_second(contexts[:1]))
        rates["two threads"] = max(rates["two threads"], tokens_a_second(contexts))
        rates["two processes"] = max(rates["two processes"], tokens_a_second_by_processes(processes))
    for process in processes:
        process.process.communicate()
    print(", ".join(f"{rate:.0f} tokens a second by {who}" for who, rate in rates.items()))
    return {who: rate / rates["one"] for who, rate in rates.items() if who != "one"}


def tokens_a_second_by_processes(processes: list[Build]) -> float:
    start = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.answer()
    return len(processes) * TOKENS_A_THREAD / (time.perf_counter() - start)


def generate_when_told(model: Path) -> None:
    """Be one of two processes: a line in, a generation, a line out."""
    context = open_context(load(model))
    print(flush=True)
    for _ in sys.stdin:
        generate(context)
        print("done", flush=True)


def tokens_a_second(contexts: list[int]) -> float:
    threads = [threading.Thread(target=generate, args=(context,)) for context in contexts]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(contexts) * TOKENS_A_THREAD / (time.perf_counter() - start)


def generate(context: int) -> None:
    """Decode token after token, as a generation does."""
    import ctypes

    from llamacffi import llama_cpp

    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    token = (ctypes.c_int32 * 1)(TOKEN)
    for _ in range(TOKENS_A_THREAD):
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(token, 1)) != 0:
            raise SystemExit("a token was not decoded")


# ---------------------------------------------------------------- the table


def show(times: dict[str, Times], ratios: dict[str, float]) -> None:
    print(f"\n{'nanoseconds a call':24}{'checked':>10}{'unchecked':>11}{'cost':>8}")
    costs = {name: times["checked"][name] - times["unchecked"][name] for name in MOST_COST}
    for name, cost in costs.items():
        print(f"{name:24}{times['checked'][name]:10.1f}{times['unchecked'][name]:11.1f}{cost:8.1f}")
    print("\n" + "\n".join(f"{who} decode {ratio:.2f} times as fast as one" for who, ratio in ratios.items()) + "\n")
    met = {f"{name} costs at most {most:.0f} ns more": costs[name] <= most for name, most in MOST_COST.items()}
    met[f"two threads are at least {LEAST_THROUGHPUT} times as fast"] = ratios["two threads"] >= LEAST_THROUGHPUT
    for target, reached in met.items():
        print(f"{'met   ' if reached else 'MISSED'}  {target}")


def main() -> None:
    from llamacffi import default_model

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file (default: the demo's)")
    parser.add_argument("--rounds", type=int, default=60, help="(default: %(default)s)")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--generate", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    model = given.model or default_model.model_path()
    if given.measure:
        measure(model)
    elif given.generate:
        generate_when_told(model)
    else:
        show(compare(model, given.rounds), throughput(model, THREAD_ROUNDS))


if __name__ == "__main__":
    main()
