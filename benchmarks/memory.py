"""Resident memory after the import, after a model was loaded, after a context has decoded, and after all is freed."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

from benchmarks.workers import Worker, be_worker, context_of, import_api, open_model, serve, take_turns

GROUP = "memory"


def resident() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def work(task: dict[str, Any]) -> None:
    """Be one of the processes; what it has before the import is left out."""
    before = resident()
    api = import_api()
    found = {"after the import": resident() - before}
    model = open_model(api, task["model"])
    found["after loading the model"] = resident() - before
    context = context_of(api, model, n_ctx=2048, n_threads=2, n_threads_batch=2)
    tokens = (ctypes.c_int32 * 64)(*range(5, 69))
    api.llama_decode(context, api.llama_batch_get_one(tokens, 64))
    found["after a prompt of 64"] = resident() - before
    api.llama_free(context)
    api.llama_model_free(model)
    found["after freeing both"] = resident() - before
    serve("ready", lambda: found)


def measure(options: Any, results: Any) -> None:
    task = {"model": options.models[False], "threads": options.threads}
    workers = {who: Worker("memory", task, python) for who, python in options.engines.items()}
    for who, (found,) in take_turns(workers, 1).items():
        for what, size in found.items():
            results.add(GROUP, what, who, [max(size, 1)], "byte")


if __name__ == "__main__":
    be_worker(work)
