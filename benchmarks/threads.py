"""Measure what a user's machine does to the speed: default parameters, more threads than cores, and company.

    python -m benchmarks.threads --peer PYTHON [--check]

PYTHON is an interpreter that has the pinned llama-cpp-python (`README.md` here says how to make one), which waits with
OpenMP. Every figure comes from processes of their own; the engines take turns in rounds, so that what else
the machine does meets both, and the medians of the rounds stand in the table. `--check` holds the ratios at the end:
the exit status is 1 where one is missed. Relies on a built source tree (build/native), Ninja and a C compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.workers import ROOT, import_api

OURS, PEER, C = "llamacffi", "peer", "C program"
PROMPT = 512  # tokens of a prompt
RESET = 400  # tokens after which the context is emptied: its default size is 512


@dataclass(frozen=True)
class Task:
    """What one process does."""

    threads: int = 0  # 0 leaves the parameters as `llama_context_default_params` gave them
    prompt: bool = False
    contexts: int = 1  # each in a Python thread of its own
    tiny: bool = False


@dataclass(frozen=True)
class Row:
    """A line of the table: what each process does, how many there are, and how nice those are that are busy beside."""

    name: str
    task: Task
    processes: int = 1
    busy: tuple[int, ...] = ()


ROWS = (
    Row("default parameters", Task()),
    Row("1 thread", Task(1)),
    Row("2 threads", Task(2)),
    Row("4 threads", Task(4)),
    Row("8 threads", Task(8)),
    Row("2 threads, a busy process beside", Task(2), busy=(0,)),
    Row("default parameters, a busy process beside", Task(), busy=(0,)),
    Row("2 threads, two niced processes beside", Task(2), busy=(10, 10)),
    Row("two processes, 2 threads each", Task(2), processes=2),
    Row("four processes, 2 threads each", Task(2), processes=4),
    Row("two contexts in two Python threads, 2 each", Task(2, contexts=2)),
    Row("a model of two layers, 2 threads", Task(2, tiny=True)),
    Row("prompt of 512, default parameters", Task(prompt=True)),
    Row("prompt of 512, 2 threads", Task(2, prompt=True)),
    Row("prompt of 512, 2 threads, a busy process beside", Task(2, prompt=True), busy=(0,)),
)

# ---------------------------------------------------------------- one process


def work(task: Task, model: str, seconds: float) -> None:
    """Be one of the processes: say that it is ready, wait for a line, and print what was measured."""
    api = import_api()
    params = api.llama_model_default_params()
    loaded = api.llama_model_load_from_file(model.encode(), params)
    contexts = [context_of(api, loaded, task) for _ in range(task.contexts)]
    run_all(api, contexts, task, 0.2)
    print("ready", flush=True)
    sys.stdin.readline()
    cpu, started = time.process_time(), time.perf_counter()
    tokens = run_all(api, contexts, task, seconds)
    elapsed, used = time.perf_counter() - started, time.process_time() - cpu
    idle = idle_cpu()
    print(json.dumps({"speed": tokens / elapsed, "cpu": used / tokens, **idle}), flush=True)
    for context in contexts:
        api.llama_free(context)
    api.llama_model_free(loaded)


def context_of(api: Any, model: Any, task: Task) -> Any:
    params = api.llama_context_default_params()
    if task.threads:
        params.n_threads = params.n_threads_batch = task.threads
    if task.prompt:
        params.n_ctx = 2 * PROMPT
    return api.llama_init_from_model(model, params)


def run_all(api: Any, contexts: list[Any], task: Task, seconds: float) -> int:
    """Let all contexts decode for some seconds, each in a thread of its own, and count their tokens."""
    counts = [0] * len(contexts)

    def run(position: int) -> None:
        counts[position] = decode_for(api, contexts[position], task, seconds)

    others = [threading.Thread(target=run, args=(position,)) for position in range(1, len(contexts))]
    for other in others:
        other.start()
    run(0)
    for other in others:
        other.join()
    return sum(counts)


def decode_for(api: Any, context: Any, task: Task, seconds: float) -> int:
    size = PROMPT if task.prompt else 1
    tokens = (api.llama_token * size)(*[5 + i % 200 for i in range(size)])
    until = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < until:
        if task.prompt or count % RESET == 0:
            api.llama_memory_clear(api.llama_get_memory(context), True)
        if api.llama_decode(context, api.llama_batch_get_one(tokens, size)) != 0:
            raise SystemExit("llama_decode failed")
        count += size
    return count


def idle_cpu() -> dict[str, float]:
    """Milliseconds of CPU in the 200 ms after the last decode, and the share of a core in the second after that."""
    before = time.process_time()
    time.sleep(0.2)
    between = time.process_time()
    time.sleep(1.0)
    return {"after": (between - before) * 1e3, "idle": time.process_time() - between}


# ---------------------------------------------------------------- all processes of a row


class Process:
    """One process that is ready to work."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.line() != "ready":
            raise SystemExit(f"{shlex.join(command)} did not say that it is ready")

    def line(self) -> str:
        assert self.process.stdout
        text = self.process.stdout.readline().strip()
        if not text:
            raise SystemExit(f"a process that measures ended with {self.process.wait()}")
        return text

    def start(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextlib.contextmanager
def busy_processes(nice: tuple[int, ...]) -> Iterator[None]:
    """Keep as many cores busy, as nicely as that."""
    commands = [["nice", "-n", str(one), sys.executable, "-c", "while True: pass"] for one in nice]
    processes = [subprocess.Popen(command) for command in commands]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure_row(row: Row, command: list[str]) -> dict[str, float]:
    """Run the processes of a row at once: the sum of their speeds, and the rest of the first."""
    processes = [Process(command) for _ in range(row.processes)]
    with busy_processes(row.busy):
        for one in processes:
            one.start()
        found = [json.loads(one.line()) for one in processes]
    for one in processes:
        one.process.wait()
    return {**found[0], "speed": sum(one["speed"] for one in found)}


def command_of(python: str, row: Row, models: dict[bool, str], seconds: float) -> list[str]:
    return [
        python,
        "-m",
        "benchmarks.threads",
        "--work",
        json.dumps(asdict(row.task)),
        models[row.task.tiny],
        str(seconds),
    ]


GROUP = "threads"
SHORT = (0, 2, 5, 9, 10)  # the rows of `python -m benchmarks`


def measure(options: Any, results: Any) -> None:
    """Measure some of the rows, as a group of `python -m benchmarks`."""
    for row in (ROWS[number] for number in SHORT):
        found: dict[str, list[float]] = {who: [] for who in options.engines}
        for _ in range(options.rounds(2)):
            for who, python in options.engines.items():
                found[who].append(1 / measure_row(row, command_of(python, row, options.models, 0.8))["speed"])
        for who, values in found.items():
            results.add(GROUP, f"a token, {row.name}", who, values)


# ---------------------------------------------------------------- the C program


def build_c_program(folder: Path) -> Path:
    """Build generate.c as the tests build their programs, with upstream's ggml-cpu.c in the place of ours."""
    from support import c_programs

    code = Path(__file__).with_name("generate.c").read_text()
    return c_programs.build(code, folder, c_programs.upstream_ggml_cpu(folder))


def measure_c(program: Path, model: str, threads: int, seconds: float) -> float:
    process = Process([str(program), model, str(threads), str(seconds)])
    process.start()
    speed = float(process.line())
    process.process.wait()
    return speed


# ---------------------------------------------------------------- the table


Found = dict[str, dict[str, list[dict[str, float]]]]  # by row and engine, a measurement a round


def measure_all(given: argparse.Namespace, models: dict[bool, str], program: Path) -> tuple[Found, list[float]]:
    engines = {OURS: sys.executable} | ({PEER: given.peer} if given.peer else {})
    rows = [row for row in ROWS if not given.rows or any(word in row.name for word in given.rows)]
    found: Found = {row.name: {engine: [] for engine in engines} for row in rows}
    plain = []
    for number in range(given.rounds):
        for row in rows:
            for engine, python in engines.items():
                show_progress(f"round {number + 1}: {row.name}, {engine}")
                command = command_of(python, row, models, given.seconds)
                found[row.name][engine].append(measure_row(row, command))
            if row.name == "2 threads":  # right beside what it is compared with
                plain.append(measure_c(program, models[False], cores(), given.seconds))
    show_progress("")
    return found, plain


def show_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:100}\r", end="", file=sys.stderr, flush=True)


def median(found: Found, row: str, engine: str, what: str = "speed") -> float:
    return statistics.median(one[what] for one in found[row][engine])


def spread(found: Found, row: str, engine: str) -> str:
    speeds = [one["speed"] for one in found[row][engine]]
    return f"{statistics.median(speeds):9.1f} ({min(speeds):.0f}–{max(speeds):.0f})"


def show(found: Found, plain: list[float]) -> None:
    """Print a line a row: tokens a second (median, least, most), CPU milliseconds a token, and what idling costs."""
    engines = list(next(iter(found.values())))
    print(f"{'tokens a second; CPU ms a token':50}" + "".join(f"{engine:>36}" for engine in engines))
    for row in found:
        cells = [f"{spread(found, row, one)};{median(found, row, one, 'cpu') * 1e3:8.3f}" for one in engines]
        print(f"{row:50}" + "".join(f"{cell:>36}" for cell in cells))
    if plain:
        print(f"{f'C program, {cores()} threads, upstream waits':50}{statistics.median(plain):36.1f}")
    for engine in engines:
        after = statistics.median(one["after"] for row in found for one in found[row][engine])
        idle = statistics.median(one["idle"] for row in found for one in found[row][engine])
        print(f"{engine}: {after:.2f} ms of CPU in the 200 ms after the last decode, then {idle:.2%} of a core")


def check(found: Found, plain: list[float]) -> bool:
    """Hold the ratios that docs/performance.md promises, on two cores."""
    tiny = "a model of two layers, 2 threads"
    two = median(found, "2 threads", OURS)
    slowest = min(one["speed"] for one in found[tiny][OURS]) / median(found, tiny, OURS)
    idle = max(one["idle"] for row in found for one in found[row][OURS])
    ratios = {
        "default parameters / 2 threads": (median(found, "default parameters", OURS) / two, 0.90),
        "two processes / peer's": (ratio(found, "two processes, 2 threads each"), 1.3),
        "two layers / peer's": (ratio(found, tiny), 1.4),
        "two layers, slowest round / median": (slowest, 0.8),
        "2 threads / C program with upstream's waits": (two / statistics.median(plain), 0.98),
        "a busy process beside / peer's": (ratio(found, "2 threads, a busy process beside"), 0.9),
        "one core / idle 200 ms after a decode": (1 / max(idle, 1e-9), 100),
    }
    for name, (value, least) in ratios.items():
        print(f"{'ok    ' if value >= least else 'MISSED'} {name}: {value:.2f}, at least {least}")
    return all(value >= least for value, least in ratios.values())


def ratio(found: Found, row: str) -> float:
    return median(found, row, OURS) / median(found, row, PEER)


def cores() -> int:
    import llamacffi

    return llamacffi.usable_cpus()


def model_paths(given: argparse.Namespace, folder: Path) -> dict[bool, str]:
    """The model that is measured, and one of two layers, made with the writer that the tests use."""
    from llamacffi import default_model
    from support import tiny_model

    tiny = tiny_model.write(folder / "tiny.gguf", tiny_model.Shape(layers=2))
    return {False: str(given.model or default_model.model_path()), True: str(tiny)}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has llama-cpp-python")
    parser.add_argument("--check", action="store_true", help="hold the ratios; needs --peer and all rows")
    parser.add_argument("--model", type=Path, help="a GGUF file (default: SmolLM2-135M)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--rows", nargs="*", metavar="WORDS", help="only the rows whose name holds one of these")
    given = parser.parse_args()
    if given.check and (not given.peer or given.rows):
        parser.error("--check compares with the peer in all rows: give --peer, and no --rows")
    return given


def main() -> int:
    """Print the table; with --check, return 1 where a ratio is missed."""
    if sys.argv[1:2] == ["--work"]:
        work(Task(**json.loads(sys.argv[2])), sys.argv[3], float(sys.argv[4]))
        return 0
    given = parse()
    sys.path[:0] = [str(ROOT / "tests")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found, plain = measure_all(given, model_paths(given, folder), build_c_program(folder))
    show(found, plain)
    return 0 if not given.check or check(found, plain) else 1


if __name__ == "__main__":
    sys.exit(main())
