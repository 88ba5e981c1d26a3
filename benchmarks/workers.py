"""Processes that measure when they are told to, so that contenders can take turns without sharing an interpreter.

A worker is `python -m benchmarks.MODULE --work JSON`: it says a first line when it is ready, and then answers each line
with one, as JSON. This module imports nothing that an interpreter of another package might not have.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class Worker:
    """A process with one engine."""

    def __init__(self, module: str, task: Mapping[str, Any], python: Path | str = sys.executable, **env: str) -> None:
        command = [str(python), "-m", f"benchmarks.{module}", "--work", json.dumps(task)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first = self.answer()

    def answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a process that measures ended with {self.process.wait()}")
        return json.loads(line)

    def tell(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def round(self) -> Any:
        self.tell()
        return self.answer()

    def end(self) -> None:
        self.process.communicate()


def serve(first: Any, measure: Callable[[], Any]) -> None:
    """Be a worker."""
    print(json.dumps(first), flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)


def take_turns(workers: Mapping[str, Any], rounds: int) -> dict[str, list[Any]]:
    """Let each measure in each round, after one that warms up and is not counted; end them."""
    found: dict[str, list[Any]] = {who: [] for who in workers}
    for turn in range(rounds + 1):
        for who in sorted(workers, reverse=bool(turn % 2)):
            answer = workers[who].round()
            if turn:
                found[who].append(answer)
    for worker in workers.values():
        worker.end()
    return found


def be_worker(work: Callable[[dict[str, Any]], None]) -> None:
    """Do what the command line says; a module of a group is started for nothing else.

    Contenders that compute with one thread are all on the same CPU: one core of a virtual machine may be half as fast
    as another for seconds, while its neighbour is busy.
    """
    if sys.argv[1:2] != ["--work"]:
        sys.exit("this is a part of python -m benchmarks")
    task = json.loads(sys.argv[2])
    if task["threads"] == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    work(task)


def import_api() -> Any:
    """Import the engine that this interpreter has, and keep its log off the screen."""
    here = importlib.util.find_spec("llamacffi") is not None
    api: Any = importlib.import_module("llamacffi.llama_cpp" if here else "llama_cpp.llama_cpp")
    api.quiet = api.llama_log_callback(lambda *_: None)  # the peer does not keep it alive
    api.llama_log_set(api.quiet, None)
    api.llama_backend_init()
    return api


def open_model(api: Any, path: str) -> Any:
    model = api.llama_model_load_from_file(os.fsencode(path), api.llama_model_default_params())
    if not model:
        raise SystemExit(f"{path} is no model")
    return model


def context_of(api: Any, model: Any, **fields: Any) -> Any:
    params = api.llama_context_default_params()
    for name, value in fields.items():
        setattr(params, name, value)
    return api.llama_init_from_model(model, params)
