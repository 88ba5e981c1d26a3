"""Make and free the same things again and again, and report memory and open files: `soak.py MODEL CYCLE COUNT`.

Memory is looked at after a tenth of the cycles, when all caches are filled, and at the end.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "border")]

import psutil  # noqa: E402
import world  # noqa: E402

from llamacffi import llama_cpp as L  # noqa: E402

MODEL = world.load()
TEXT = b"the cat at the dog"


def vocabulary() -> None:
    """Load the vocabulary, tokenize, free."""
    model = world.load(vocab_only=True)
    count = L.llama_tokenize(L.llama_model_get_vocab(model), TEXT, len(TEXT), world.ints(*[0] * 64), 64, True, True)
    assert count > 0
    L.llama_model_free(model)


def context() -> None:
    """Create a context, decode, sample, free."""
    ctx = world.context_of(MODEL)
    L.llama_set_abort_callback(ctx, L.ggml_abort_callback(lambda data: False), None)
    assert world.decode(ctx) == 0
    chain = world.chain_of(L.llama_sampler_init_top_k(5), L.llama_sampler_init_dist(1))
    assert L.llama_sampler_sample(chain, ctx, -1) >= 0
    L.llama_sampler_free(chain)
    L.llama_free(ctx)


def refused() -> None:
    """Use what is freed, and what never was."""
    ctx = world.context_of(MODEL)
    L.llama_free(ctx)
    for wrong in (ctx, None, MODEL, 8):
        try:
            L.llama_n_ctx(wrong)
        except ValueError:
            continue
        raise AssertionError(wrong)


CYCLES: dict[str, Callable[[], None]] = {"vocabulary": vocabulary, "context": context, "refused": refused}


def used() -> tuple[float, int]:
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss / 2**20, process.num_fds()


def main() -> None:
    cycle, count = CYCLES[sys.argv[2]], int(sys.argv[3])
    for _ in range(count // 10):
        cycle()
    memory, files = used()
    for _ in range(count):
        cycle()
    memory_after, files_after = used()
    print(json.dumps({"grown": round(memory_after - memory, 2), "files": files_after - files, "rss": memory_after}))


if __name__ == "__main__":
    main()
