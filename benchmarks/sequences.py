"""Measure tokens a second against the number of sequences that are computed in one batch, and plot them.

    python benchmarks/sequences.py [MODEL] [--threads N]

Each sequence has a short prompt of its own; then each decode computes one token of every sequence. The rounds take
turns, and the median of each counts.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from pathlib import Path

import llamacffi
from llamacffi import default_model, llama_cpp
from llamacffi.cli import engine
from llamacffi.cli.options import Engine

SEQUENCES = (1, 2, 4, 8, 16, 32)
PROMPT, STEPS, ROUNDS = 8, 8, 5
WIDE = 50  # characters of the longest bar


def batch_of(sequences: int, tokens: range) -> llama_cpp.llama_batch:
    """Make a batch that has tokens at these positions of every sequence, and wants the logits of each last one."""
    batch = llama_cpp.llama_batch_init(sequences * len(tokens), 0, 1)
    for place in range(sequences * len(tokens)):
        sequence, step = divmod(place, len(tokens))
        batch.token[place] = 100 + place
        batch.pos[place] = tokens[step]
        batch.n_seq_id[place] = 1
        batch.seq_id[place][0] = sequence
        batch.logits[place] = step == len(tokens) - 1
    batch.n_tokens = sequences * len(tokens)
    return batch


def compute(context: int, sequences: int, tokens: range) -> None:
    batch = batch_of(sequences, tokens)
    engine.checked(llama_cpp.llama_decode(context, batch))
    llama_cpp.llama_synchronize(context)
    llama_cpp.llama_batch_free(batch)


def tokens_a_second(context: int, sequences: int) -> float:
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    compute(context, sequences, range(PROMPT))
    started = time.perf_counter()
    for step in range(PROMPT, PROMPT + STEPS):
        compute(context, sequences, range(step, step + 1))
    return sequences * STEPS / (time.perf_counter() - started)


def measured(model: Path, threads: int) -> dict[int, float]:
    engine.quieten()
    fields = {"n_seq_max": max(SEQUENCES), "n_batch": 512, "kv_unified": True}
    cells = max(SEQUENCES) * (PROMPT + STEPS)
    with contextlib.ExitStack() as stack:
        loaded = stack.enter_context(engine.loaded(model))
        context = stack.enter_context(engine.context_of(loaded, Engine(threads=threads), cells, **fields))
        rounds = [{number: tokens_a_second(context, number) for number in SEQUENCES} for _ in range(ROUNDS)]
    return {number: statistics.median(one[number] for one in rounds) for number in SEQUENCES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, help="a GGUF file (the demo's)")
    parser.add_argument("--threads", type=int, default=llamacffi.usable_cpus())
    given = parser.parse_args()
    speeds = measured(given.model or default_model.model_path(), given.threads)
    print(f"{'sequences':>9}  {'tokens/s':>8}  {'of each':>7}")
    for number, speed in speeds.items():
        bar = "█" * round(WIDE * speed / max(speeds.values()))
        print(f"{number:>9}  {speed:>8.1f}  {speed / number:>7.1f}  {bar}")


if __name__ == "__main__":
    main()
