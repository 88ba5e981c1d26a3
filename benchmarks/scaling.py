"""What more of something costs: live handles, sequences in a batch, Python threads."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Any

from benchmarks.memory import resident
from benchmarks.workers import Worker, be_worker, context_of, import_api, open_model, serve, take_turns

GROUP = "scaling"
OURS = "llamacffi"
HANDLES = (1, 1_000, 10_000, 100_000)
MADE_AGAIN = 1_000_000
SEQUENCES = (1, 2, 4, 8, 16, 32, 64)
THREADS = (1, 2, 4, 8)
CALLS, STEPS = 100_000, 8

# ---------------------------------------------------------------- one process


def measure_handles(task: dict[str, Any]) -> None:
    """Seconds of a call beside so many live handles; the numbers take turns."""
    api = import_api()
    model = open_model(api, task["model"])
    context = context_of(api, model, n_ctx=64, n_threads=1, n_threads_batch=1)
    live: list[Any] = []

    def call_beside(count: int) -> float:
        while len(live) < count:
            live.append(api.llama_sampler_init_greedy())
        while len(live) > count:
            api.llama_sampler_free(live.pop())
        function = api.llama_n_ctx
        return min(timed(function, context) for _ in range(3))

    serve("ready", lambda: {count: call_beside(count) for count in HANDLES})


def timed(function: Any, context: Any) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        function(context)
    return (time.perf_counter() - started) / CALLS


def measure_growth(_: dict[str, Any]) -> None:
    """Bytes that a handle takes which is made and freed again and again."""
    api = import_api()

    def make_again(count: int) -> None:
        for _ in range(count):
            api.llama_sampler_free(api.llama_sampler_init_greedy())

    def grown() -> int:
        make_again(MADE_AGAIN // 10)  # what is allocated once is there after it
        before = resident()
        make_again(MADE_AGAIN)
        return resident() - before

    serve("ready", grown)


def measure_threads(task: dict[str, Any]) -> None:
    """Seconds a token of as many Python threads, each with a context of one thread."""
    api = import_api()
    model = open_model(api, task["model"])
    contexts = [context_of(api, model, n_ctx=128, n_threads=1, n_threads_batch=1) for _ in range(max(THREADS))]
    serve("ready", lambda: {count: together(api, contexts[:count], task["steps"]) for count in THREADS})


def measure_alone(task: dict[str, Any]) -> None:
    """Seconds a token of one context of one thread."""
    api = import_api()
    context = context_of(api, open_model(api, task["model"]), n_ctx=128, n_threads=1, n_threads_batch=1)
    serve("ready", lambda: together(api, [context], task["steps"]))


def together(api: Any, contexts: list[Any], steps: int) -> float:
    threads = [threading.Thread(target=generate, args=(api, context, steps)) for context in contexts]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - started) / steps / len(contexts)


def generate(api: Any, context: Any, steps: int) -> None:
    api.llama_memory_clear(api.llama_get_memory(context), True)
    token = (ctypes.c_int32 * 1)(5)
    for _ in range(steps):
        if api.llama_decode(context, api.llama_batch_get_one(token, 1)) != 0:
            raise SystemExit("llama_decode failed")


def measure_sequences(task: dict[str, Any]) -> None:
    """Seconds a token of as many sequences in one batch."""
    api = import_api()
    model = open_model(api, task["model"])
    most = max(SEQUENCES)
    threads = task["threads"]
    fields = {"n_seq_max": most, "n_ctx": most * 16, "n_threads": threads, "n_threads_batch": threads}
    context, batch = context_of(api, model, **fields), api.llama_batch_init(most, 0, 1)

    def a_token(count: int) -> float:
        api.llama_memory_clear(api.llama_get_memory(context), True)
        started = time.perf_counter()
        for step in range(STEPS):
            for sequence in range(count):
                batch.token[sequence], batch.pos[sequence] = 100 + sequence, step
                batch.n_seq_id[sequence], batch.seq_id[sequence][0] = 1, sequence
                batch.logits[sequence] = True
            batch.n_tokens = count
            if api.llama_decode(context, batch) != 0:
                raise SystemExit("llama_decode failed")
        return (time.perf_counter() - started) / STEPS / count

    serve("ready", lambda: {count: a_token(count) for count in SEQUENCES})


TASKS = {
    "handles": measure_handles,
    "growth": measure_growth,
    "threads": measure_threads,
    "alone": measure_alone,
    "sequences": measure_sequences,
}

# ---------------------------------------------------------------- all of them


def handles(count: int) -> str:
    return f"a call beside {count} live handles"


def python_threads(count: int) -> str:
    return f"a token, {count} Python thread{'s' * (count > 1)}"


GROWTH = f"memory of {MADE_AGAIN} handles, one after the other"


class Both:
    """Two processes that do the same at the same time: what the machine gives to two threads at best."""

    def __init__(self, *workers: Worker) -> None:
        self.workers = workers

    def round(self) -> float:
        for worker in self.workers:
            worker.tell()
        return max(float(worker.answer()) for worker in self.workers) / len(self.workers)

    def end(self) -> None:
        for worker in self.workers:
            worker.end()


def measure(options: Any, results: Any) -> None:
    def worker(name: str, threads: int) -> Worker:
        task = {"name": name, "model": options.models[name == "handles"], "steps": 40, "threads": threads}
        return Worker("scaling", task)

    def rounds_of(name: str, count: int, threads: int = options.threads) -> list[Any]:
        return take_turns({name: worker(name, threads)}, options.rounds(count))[name]

    workers = {"threads": worker("threads", 2), "alone": Both(worker("alone", 2), worker("alone", 2))}
    found = take_turns(workers, options.rounds(4))
    for number in found["threads"][0]:
        results.add(GROUP, python_threads(int(number)), OURS, [one[number] for one in found["threads"]])
    results.add(GROUP, "a token, 2 processes", OURS, found["alone"])
    rounds = rounds_of("sequences", 3)
    for number in rounds[0]:
        results.add(GROUP, sequences(int(number)), OURS, [one[number] for one in rounds])
    rounds = rounds_of("handles", 10, threads=1)
    for number in rounds[0]:
        results.add(GROUP, handles(int(number)), OURS, [one[number] for one in rounds])
    results.add(GROUP, GROWTH, OURS, [max(one, 1) for one in rounds_of("growth", 1, threads=1)], "byte")


def sequences(count: int) -> str:
    return f"a token, {count} sequence{'s' * (count > 1)} in one batch"


if __name__ == "__main__":
    be_worker(lambda task: TASKS[task["name"]](task))
