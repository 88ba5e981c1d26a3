"""Data between Python and llama.cpp: batches, texts, logits, samplers, embeddings, states.

What llamacffi.arrays does in one call stands beside the loop over C's functions that it spares; the loop runs through
llamacffi and through the peer. What needs no loop is the same call in both.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.workers import ROOT, Worker, be_worker, context_of, import_api, open_model, serve, take_turns

GROUP = "data paths"
OURS, ARRAYS, PEER = "llamacffi", "llamacffi.arrays", "llama-cpp-python"
BATCH = 2048  # tokens
TEXT = 100_000  # bytes
EMBEDDED = 256  # short texts
VOCABULARY = 49_152  # tokens
LONG = 0.5  # seconds of a job in a round, after which it is not done again
FILL = f"a batch of {BATCH} tokens"

Job = Callable[[], Any]


class World:
    """A model and contexts of it, and what is done with them by a module of the documented API."""

    def __init__(self, api: Any, path: str, threads: int) -> None:
        self.api = api
        self.model = open_model(api, path)
        self.vocab = api.llama_model_get_vocab(self.model)
        self.ctx = self.context(n_ctx=256)
        fields = {"n_ctx": BATCH, "n_batch": BATCH, "n_ubatch": BATCH, "n_seq_max": 64, "pooling_type": 1}
        self.embedder = self.context(threads, embeddings=True, **fields)
        self.batch = api.llama_batch_init(BATCH, 0, 1)
        self.text = ((ROOT / "docs" / "safety.md").read_bytes() * 9)[:TEXT].decode(errors="ignore").encode()
        self.tokens = self.tokenize()
        self.decode_some()

    def context(self, threads: int = 1, **fields: Any) -> Any:
        return context_of(self.api, self.model, n_threads=threads, n_threads_batch=threads, **fields)

    def decode_some(self) -> None:
        tokens = (ctypes.c_int32 * 64)(*self.tokens[:64])
        if self.api.llama_decode(self.ctx, self.api.llama_batch_get_one(tokens, 64)) != 0:
            raise SystemExit("llama_decode failed")

    def fill_batch(self) -> None:
        batch = self.batch
        for i, token in enumerate(self.tokens[:BATCH]):
            batch.token[i] = token
            batch.pos[i] = i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = i == BATCH - 1
        batch.n_tokens = BATCH

    def tokenize(self) -> list[int]:
        room = (ctypes.c_int32 * (len(self.text) + 2))()
        count = self.api.llama_tokenize(self.vocab, self.text, len(self.text), room, len(room), True, False)
        return room[:count]

    def detokenize(self) -> bytes:
        piece = ctypes.create_string_buffer(256)
        found: list[Any] = []
        for token in self.tokens:
            size = self.api.llama_token_to_piece(self.vocab, token, piece, 256, 0, True)
            found.append(piece[:size])
        return b"".join(found)

    def logits(self) -> Any:
        row = self.api.llama_get_logits_ith(self.ctx, -1)
        return row[: self.api.llama_vocab_n_tokens(self.vocab)]

    def embeddings(self) -> None:
        """Of short texts, 64 in a batch, each a sequence of its own."""
        api, ctx, batch = self.api, self.embedder, self.batch
        for first in range(0, EMBEDDED, 64):
            api.llama_memory_clear(api.llama_get_memory(ctx), True)
            for i in range(4 * 64):
                batch.token[i] = self.tokens[first + i]
                batch.pos[i] = i % 4
                batch.n_seq_id[i] = 1
                batch.seq_id[i][0] = i // 4
                batch.logits[i] = True
            batch.n_tokens = 4 * 64
            if api.llama_decode(ctx, batch) != 0:
                raise SystemExit("llama_decode failed")
            for sequence in range(64):
                api.llama_get_embeddings_seq(ctx, sequence)[: api.llama_model_n_embd(self.model)]

    def state(self) -> None:
        size = self.api.llama_state_get_size(self.ctx)
        room = (ctypes.c_uint8 * size)()
        self.api.llama_state_get_data(self.ctx, room, size)
        self.api.llama_state_set_data(self.ctx, room, size)


# ---------------------------------------------------------------- samplers


def chain_of(api: Any, *samplers: Any) -> Any:
    chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
    for one in samplers:
        api.llama_sampler_chain_add(chain, one)
    return chain


def six(api: Any) -> list[Any]:
    return [
        api.llama_sampler_init_top_k(40),
        api.llama_sampler_init_typical(1.0, 1),
        api.llama_sampler_init_top_p(0.95, 1),
        api.llama_sampler_init_min_p(0.05, 1),
        api.llama_sampler_init_temp(0.8),
        api.llama_sampler_init_dist(1),
    ]


def in_python(api: Any, kept: list[Any]) -> Any:
    """A sampler that adds to one logit, as a program would write it."""

    def apply(_: Any, candidates: Any) -> None:
        candidates.contents.data[7].logit += 1.0

    made = api.llama_sampler_i()
    made.apply = dict(api.llama_sampler_i._fields_)["apply"](apply)
    sampler = api.llama_sampler()
    sampler.iface = ctypes.pointer(made)
    kept.extend((made, sampler))
    return ctypes.pointer(sampler)


# ---------------------------------------------------------------- one process


def jobs(world: World, kept: list[Any]) -> Iterator[tuple[str, Job]]:
    api = world.api
    chain = chain_of(api, *six(api))
    mixed = chain_of(api, in_python(api, kept), *six(api))
    yield FILL, world.fill_batch
    yield f"tokens of {TEXT // 1000} kB", world.tokenize
    yield f"{TEXT // 1000} kB of tokens", world.detokenize
    yield f"{VOCABULARY} logits to Python", world.logits
    yield "a chain of 6 samplers", lambda: api.llama_sampler_sample(chain, world.ctx, -1)
    yield "the same with one in Python", lambda: api.llama_sampler_sample(mixed, world.ctx, -1)
    yield f"embeddings of {EMBEDDED} short texts", world.embeddings
    yield "a state saved and restored", world.state


def jobs_with_arrays(world: World) -> Iterator[tuple[str, Job]]:
    import numpy as np

    from llamacffi import arrays

    tokens = np.array(world.tokens, np.int32)
    yield FILL, lambda: arrays.fill_batch(world.batch, tokens[:BATCH])
    yield f"tokens of {TEXT // 1000} kB", lambda: arrays.tokenize(world.vocab, world.text)
    yield f"{TEXT // 1000} kB of tokens", lambda: arrays.detokenize(world.vocab, tokens, unparse_special=True)
    yield f"{VOCABULARY} logits to Python", lambda: arrays.logits(world.ctx).copy()


def work(task: dict[str, Any]) -> None:
    """Be one of the processes: seconds of each job, the least of some."""
    world, kept = World(import_api(), task["model"], task["threads"]), list[Any]()
    chosen = list(jobs_with_arrays(world) if task["arrays"] else jobs(world, kept))

    def least(job: Job) -> float:
        times: list[float] = []
        while len(times) < 3 and sum(times) < LONG:
            started = time.perf_counter()
            job()
            times.append(time.perf_counter() - started)
        return min(times)

    serve("ready", lambda: {name: least(job) for name, job in chosen})


def measure(options: Any, results: Any) -> None:
    task = {"model": options.models[False], "threads": options.threads}
    workers = {who: Worker("data_paths", {**task, "arrays": False}, python) for who, python in options.engines.items()}
    workers[ARRAYS] = Worker("data_paths", {**task, "arrays": True})
    results.add_rounds(GROUP, take_turns(workers, options.rounds(4)))


if __name__ == "__main__":
    be_worker(work)
