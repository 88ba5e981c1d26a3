"""Measure tokens a second of `Llama.create_completion`, on this engine and on the ctypes library.

    python benchmarks/completion.py MODEL PEER

MODEL is a GGUF file, PEER the installed `llama_cpp` folder of the pinned llama-cpp-python, built for this CPU. Both
engines run under the same, unmodified Python package, that of PEER. Their processes take turns, so that what
else the machine does meets both; each round warms up first.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import sys, time
import llama_cpp

path, threads, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
llama = llama_cpp.Llama(path, n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False)

def speed():
    llama.reset()
    started = time.perf_counter()
    answer = llama.create_completion("Once upon a time", max_tokens=tokens, temperature=0.0, stop=None)
    return answer["usage"]["completion_tokens"] / (time.perf_counter() - started)

speed()
print(max(speed() for _ in range(3)))
"""
OURS, THEIRS = "llamacffi", "ctypes"


def commands(program: Path) -> dict[str, list[str]]:
    return {
        OURS: [sys.executable, "-m", "llamacffi", "run", str(program)],
        THEIRS: [sys.executable, str(program)],
    }


def measure(model: Path, package: Path, threads: int, tokens: int, rounds: int) -> dict[str, list[float]]:
    """Return the tokens a second of each engine in each round."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "llama_cpp").symlink_to(package.resolve(), target_is_directory=True)
        (folder / "program.py").write_text(PROGRAM)
        env = {**os.environ, "PYTHONPATH": name}
        results: dict[str, list[float]] = {OURS: [], THEIRS: []}
        for _ in range(rounds):
            for engine, command in commands(folder / "program.py").items():
                arguments = [*command, str(model), str(threads), str(tokens)]
                ended = subprocess.run(arguments, env=env, check=True, stdout=subprocess.PIPE, text=True)
                results[engine].append(float(ended.stdout))
    return results


def main() -> None:
    """Print the median and the best of each engine, and their relation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("peer", type=Path, help="the installed llama_cpp folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    results = measure(given.model, given.peer, given.threads, given.tokens, given.rounds)
    for engine, speeds in results.items():
        print(f"{engine:10} median {statistics.median(speeds):7.1f}  best {max(speeds):7.1f} tokens a second")
    print(f"{OURS} / {THEIRS}: {statistics.median(results[OURS]) / statistics.median(results[THEIRS]):.3f}")


if __name__ == "__main__":
    main()
