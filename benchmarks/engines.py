"""A prompt and a generation at each CPU level that this extension holds and this CPU can run."""

from __future__ import annotations

import ctypes
import time
from typing import Any

from benchmarks.workers import Worker, be_worker, context_of, import_api, open_model, serve, take_turns

GROUP = "engines"
PROMPT, GENERATED = 128, 16


def work(task: dict[str, Any]) -> None:
    """Be one of the processes: seconds a token of a prompt and of a generation."""
    api = import_api()
    threads = task["threads"]
    fields = {"n_ctx": 256, "n_threads": threads, "n_threads_batch": threads}
    context = context_of(api, open_model(api, task["model"]), **fields)

    def a_token(size: int, times: int) -> float:
        tokens = (ctypes.c_int32 * size)(*range(5, 5 + size))
        started = time.perf_counter()
        for _ in range(times):
            if api.llama_decode(context, api.llama_batch_get_one(tokens, size)) != 0:
                raise SystemExit("llama_decode failed")
        return (time.perf_counter() - started) / size / times

    def measure() -> dict[str, float]:
        api.llama_memory_clear(api.llama_get_memory(context), True)
        return {"a token of a prompt": a_token(PROMPT, 1), "a generated token": a_token(1, GENERATED)}

    serve("ready", measure)


def levels() -> list[str]:
    """Return the levels that can run here; the last is the one that is chosen."""
    import llamacffi

    info = llamacffi.build_info()
    runnable = list(info.cpu_levels)[: list(info.cpu_levels).index(info.cpu_level) + 1] if info.cpu_levels else []
    return runnable or [info.cpu_level]


def measure(options: Any, results: Any) -> None:
    task = {"model": options.models[False], "threads": options.threads}
    found = levels()
    env = [{"LLAMACFFI_CPU": level} if len(found) > 1 else {} for level in found]
    workers = {level: Worker("engines", task, **one) for level, one in zip(found, env, strict=True)}
    results.add_rounds(GROUP, take_turns(workers, options.rounds(5)))


if __name__ == "__main__":
    be_worker(work)
