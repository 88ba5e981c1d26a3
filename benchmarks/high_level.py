"""Tokens a second of `Llama`, llama-cpp-python's own unmodified class: over this engine, and over its ctypes library.

Both are the peer's files; one process has them over llamacffi (`llamacffi run`), the other as they are.
"""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

from benchmarks.workers import Worker, be_worker, serve, take_turns

GROUP = "high level"
OURS, PEER = "llamacffi", "llama-cpp-python"
REAL, TWO_LAYERS = "SmolLM2-135M", "two layers"
TOKENS = 48
GRAMMAR = 'root ::= [a-z ]+ "." root?'
MESSAGES = [{"role": "user", "content": "Say something about cats."}]


class Tasks:
    """What is generated, at temperature 0; each gives the number of tokens."""

    def __init__(self, llama: Any, grammar: Any) -> None:
        self.llama, self.grammar = llama, grammar

    def completion(self) -> int:
        return self.complete()

    def logit_bias(self) -> int:
        return self.complete(logit_bias={token: 1.0 for token in range(5, 25)})

    def with_grammar(self) -> int:
        return self.complete(grammar=self.grammar)

    def chat(self) -> int:
        return int(
            self.llama.create_chat_completion(MESSAGES, max_tokens=TOKENS, temperature=0.0)["usage"][
                "completion_tokens"
            ]
        )

    def complete(self, **given: Any) -> int:
        answer = self.llama.create_completion("the cat", max_tokens=TOKENS, temperature=0.0, stop=None, **given)
        return int(answer["usage"]["completion_tokens"])


NAMES = ("completion", "logit_bias", "with_grammar", "chat")


def work(task: dict[str, Any]) -> None:
    """Be one of the processes: seconds a token of each task."""
    if task["ours"]:
        import llamacffi

        sys.path.insert(0, task["ours"])
        llamacffi.install_as_llama_cpp()
    llama_cpp: Any = importlib.import_module("llama_cpp")

    threads = task["threads"]
    llama = llama_cpp.Llama(task["model"], n_ctx=512, n_threads=threads, n_threads_batch=threads, verbose=False)
    tasks = Tasks(llama, llama_cpp.LlamaGrammar.from_string(GRAMMAR, verbose=False))

    def measure() -> dict[str, float]:
        found = {}
        for name in NAMES:
            llama.reset()
            started = time.perf_counter()
            tokens = getattr(tasks, name)()
            found[name] = (time.perf_counter() - started) / max(tokens, 1)
        return found

    serve("ready", measure)


def measure(options: Any, results: Any) -> None:
    if not options.peer:
        return
    for two_layers, name in ((False, REAL), (True, TWO_LAYERS)):
        task = {"model": options.models[two_layers], "threads": 1 if two_layers else options.threads}
        workers = {
            OURS: Worker("high_level", {**task, "ours": str(options.peer_package.parent)}),
            PEER: Worker("high_level", {**task, "ours": ""}, options.peer),
        }
        for who, rounds in take_turns(workers, options.rounds(15 if two_layers else 3)).items():
            for what in NAMES:
                results.add(GROUP, f"{name}: {what}, a token", who, [one[what] for one in rounds])


if __name__ == "__main__":
    be_worker(work)
