"""A prompt and a generation: in C, through llamacffi and through the peer, the same steps in each.

A step looks whether the token ends, makes text of it, decodes it in each sequence, and samples the next one. Each
contender is a process of its own; C's loop runs in one too, out of by_hand.c. What Python takes of a step is what its
loop takes beyond C's, both in one process and by turns, on a model of two layers: on a real one it is within the noise.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.workers import Worker, be_worker, context_of, import_api, open_model, serve, take_turns

GROUP = "token loop"
C, OURS, PEER = "C", "llamacffi", "llama-cpp-python"
PYTHON = "Python's part of a token"
TURNS = 40  # of the loop in Python and of the one in C, in one process
BRIEF = 64  # steps of each: some milliseconds, of which some are undisturbed on a busy machine too
TOKENS = 100  # of which prompts are made: the first that are text


class Case(NamedTuple):
    """What is generated; `prompt` and `steps` are of each sequence."""

    name: str
    prompt: int
    steps: int
    sequences: int
    two_layers: bool = False


CASES = (
    Case("prompt of 512, 256 tokens", 512, 256, 1),
    Case("8 sequences: prompts of 64, 32 tokens each", 64, 32, 8),
    Case("two layers: prompt of 16, 256 tokens", 16, 256, 1, two_layers=True),
)

Run = Callable[[], tuple[float, float, int]]

# ---------------------------------------------------------------- one process


class Loop:
    """The loop of by_hand.c, by a module of the documented API."""

    def __init__(self, api: Any, model: Any, case: Case, threads: int) -> None:
        self.api, self.case = api, case
        size = case.sequences * (case.prompt + case.steps)
        fields = {"n_ctx": size, "n_batch": size, "n_seq_max": case.sequences, "n_threads": threads}
        self.context = context_of(api, model, **fields, n_threads_batch=threads)
        self.vocab = api.llama_model_get_vocab(model)
        self.sampler = api.llama_sampler_init_greedy()
        self.whole = api.llama_batch_init(case.prompt, 0, 1)
        self.batch = self.filled(api.llama_batch_init(case.sequences, 0, 1))
        self.piece = ctypes.create_string_buffer(64)

    def filled(self, batch: Any) -> Any:
        """Fill what is the same at each step."""
        for sequence in range(self.case.sequences):
            batch.n_seq_id[sequence] = 1
            batch.seq_id[sequence][0] = sequence
            batch.logits[sequence] = True
        batch.n_tokens = self.case.sequences
        return batch

    def run(self) -> tuple[float, float, int]:
        """Return the seconds of the prompts and of the steps, and the last token of the first sequence."""
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)
        started = time.perf_counter()
        chosen = [self.prompt(sequence) for sequence in range(self.case.sequences)]
        between = time.perf_counter()
        last = self.steps(chosen) if len(chosen) > 1 else self.steps_of_one(chosen[0])
        return between - started, time.perf_counter() - between, last

    def prompt(self, sequence: int) -> int:
        batch = self.whole
        for i, token in enumerate(prompt_of(self.case.prompt)):
            batch.token[i] = token
            batch.pos[i] = i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = i == self.case.prompt - 1
        batch.n_tokens = self.case.prompt
        self.decode(batch)
        return int(self.api.llama_sampler_sample(self.sampler, self.context, -1))

    def decode(self, batch: Any) -> None:
        if self.api.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama_decode failed")

    def of_a_step(self) -> tuple[Any, ...]:
        """The functions of a step and the arrays that it fills, for local variables."""
        api = self.api
        functions = api.llama_vocab_is_eog, api.llama_token_to_piece, api.llama_decode, api.llama_sampler_sample
        return *functions, self.batch.token, self.batch.pos

    def steps_of_one(self, one: int) -> int:
        context, vocab, sampler, piece, batch = self.context, self.vocab, self.sampler, self.piece, self.batch
        is_end, to_piece, decode, sample, token, pos = self.of_a_step()
        for at in range(self.case.prompt, self.case.prompt + self.case.steps):
            is_end(vocab, one)
            to_piece(vocab, one, piece, 64, 0, False)
            token[0], pos[0] = one, at
            if decode(context, batch) != 0:
                raise SystemExit("llama_decode failed")
            one = sample(sampler, context, 0)
        return int(one)

    def steps(self, chosen: list[int]) -> int:
        context, vocab, sampler, piece, batch = self.context, self.vocab, self.sampler, self.piece, self.batch
        is_end, to_piece, decode, sample, token, pos = self.of_a_step()
        for at in range(self.case.prompt, self.case.prompt + self.case.steps):
            for sequence, one in enumerate(chosen):
                is_end(vocab, one)
                to_piece(vocab, one, piece, 64, 0, False)
                token[sequence] = one
                pos[sequence] = at
            if decode(context, batch) != 0:
                raise SystemExit("llama_decode failed")
            chosen = [sample(sampler, context, sequence) for sequence in range(len(chosen))]
        return chosen[0]


def prompt_of(size: int) -> list[int]:
    return [5 + i % TOKENS for i in range(size)]


def work(task: dict[str, Any]) -> None:
    """Be one of the processes."""
    case, model, threads = Case(*task["case"]), task["model"], task["threads"]
    runs: list[Run] = []
    if task["python"]:
        api = import_api()
        runs.append(Loop(api, open_model(api, model), case, threads).run)
    if task["by_hand"]:
        runs.append(loop_in_c(task["by_hand"], model, case, threads))
    if len(runs) == 1:
        serve("ready", runs[0])
    else:
        serve("ready", lambda: beyond(runs[0], runs[1], case.steps))


def loop_in_c(library: str, model: str, case: Case, threads: int) -> Run:
    from benchmarks.calls import import_file

    by_hand = import_file("by_hand", Path(library))
    by_hand.open_loop(model.encode(), case.sequences * (case.prompt + case.steps), case.sequences, threads)
    prompt = (ctypes.c_int32 * case.prompt)(*prompt_of(case.prompt))
    return lambda: by_hand.run_loop(prompt, case.steps)


def beyond(python: Run, c: Run, steps: int) -> float:
    """Return the seconds of a step in Python beyond one in C: of the fastest of some, which take turns."""
    pairs = [(python()[1], c()[1]) for _ in range(TURNS)]
    return (min(one for one, _ in pairs) - min(other for _, other in pairs)) / steps


# ---------------------------------------------------------------- all of them


def measure(options: Any, results: Any) -> None:
    from benchmarks.calls import build_by_hand

    by_hand = str(build_by_hand())
    for case in CASES:
        threads = 1 if case.two_layers else options.threads
        model = options.models[case.two_layers]
        task = {"case": case, "model": model, "threads": threads, "by_hand": "", "python": True}
        workers = {who: Worker("token_loop", task, python) for who, python in options.engines.items()}
        workers[C] = Worker("token_loop", {**task, "by_hand": by_hand, "python": False})
        found = take_turns(workers, options.rounds(30 if case.two_layers else 4))
        require_same({who: rounds[0][2] for who, rounds in found.items()}, case)
        for who, rounds in found.items():
            steps, prompts = case.sequences * case.steps, case.sequences * case.prompt
            results.add(GROUP, f"{case.name}: a token", who, [one[1] / steps for one in rounds])
            results.add(GROUP, f"{case.name}: a token of the prompt", who, [one[0] / prompts for one in rounds])
        if case.two_layers:
            both = {OURS: Worker("token_loop", {**task, "case": case._replace(steps=BRIEF), "by_hand": by_hand})}
            results.add(GROUP, PYTHON, OURS, take_turns(both, options.rounds(5))[OURS])


def require_same(last: dict[str, int], case: Case) -> None:
    """Refuse to compare loops that choose other tokens; the peer's may, since another CPU level rounds differently."""
    if last[OURS] != last[C]:
        raise SystemExit(f"{case.name}: the loops end with different tokens: {last}")


def python_share(results: Any) -> float:
    """Return the seconds of a token that the loop in Python takes beyond the one in C, with two layers."""
    return float(results.lines[GROUP, PYTHON, OURS].median)


if __name__ == "__main__":
    be_worker(work)
