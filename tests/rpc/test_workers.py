"""A model on workers, processes on the loopback, computes what it does here bit for bit, and is divided as asked."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import llamacffi
from llamacffi import llama_cpp as llama
from support.objects import context_of, decode, load_on, logits_of
from support.rpc_servers import Worker
from support.tiny_model import LAYERED

PROMPT = tuple(range(3, 40))
CONTEXT = 512
OWNER = re.compile(r"layer +(\d+) assigned to device (RPC\d+)")
CACHE = re.compile(r"RPC\d+\[(.+)\] KV buffer size = +([\d.]+) MiB")


def devices_of(workers: list[Worker]) -> Any:
    return llamacffi.add_rpc_servers(worker.endpoint for worker in workers)


@contextmanager
def context_on(devices: Any, path: Path, **options: Any) -> Iterator[Any]:
    model = load_on(devices, path, **options)
    assert model, llamacffi.last_error()
    ctx = context_of(model, n_ctx=CONTEXT)
    assert ctx, llamacffi.last_error()
    yield ctx
    llama.llama_free(ctx)
    llama.llama_model_free(model)


def computed(ctx: Any) -> np.ndarray[Any, Any]:
    """Return the logits of a prompt, and of three tokens after it, one by one."""
    found = []
    for tokens in (PROMPT, (7,), (8,), (9,)):
        assert decode(ctx, tokens) == 0
        found.append(logits_of(ctx).copy())
    return np.stack(found)


def computed_on(devices: Any, path: Path, **options: Any) -> np.ndarray[Any, Any]:
    with context_on(devices, path, **options) as ctx:
        return computed(ctx)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_logits_are_those_of_this_process_bit_for_bit(workers: list[Worker], layered_path: Path, number: int) -> None:
    remote = computed_on(devices_of(workers[:number]), layered_path)
    np.testing.assert_array_equal(remote, computed_on([], layered_path))


@contextmanager
def logged() -> Iterator[list[str]]:
    """Keep what llama.cpp logs."""
    lines: list[str] = []
    logger = logging.getLogger("tests.rpc")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    llamacffi.log_to(logger)
    yield lines
    logger.removeHandler(handler)
    llamacffi.log_to(None)


def test_layers_and_memory_are_divided_as_asked(workers: list[Worker], layered_path: Path) -> None:
    """Of seven layers, the output being the last, one of four is the first's; each has the cache of its own."""
    devices = devices_of(workers[:2])
    free = [device.memory_free for device in devices]
    with logged() as lines, context_on(devices, layered_path, tensor_split=[1, 3]):
        taken = [before - after.memory_free for before, after in zip(free, devices_of(workers[:2]), strict=True)]
    owners = Counter(found[2] for found in map(OWNER.search, lines) if found and int(found[1]) < LAYERED.layers)
    assert owners == {devices[0].name: 2, devices[1].name: 4}
    caches = {found[1]: float(found[2]) for found in map(CACHE.search, lines) if found}
    one_layer = 2 * 2 * CONTEXT * LAYERED.width / 2**20  # keys and values, as f16
    assert caches == {devices[0].description: 2 * one_layer, devices[1].description: 4 * one_layer}
    for weights, cache, memory in zip(weights_of(layered_path, 2), caches.values(), taken, strict=True):
        assert weights + cache * 2**20 <= memory < weights + cache * 2**20 + (8 << 20)  # and room to compute in


def weights_of(path: Path, first: int) -> tuple[int, int]:
    """Add up the bytes of the first layers, and of the others with the output."""
    tensors = gguf.GGUFReader(path).tensors
    early = [int(one.n_bytes) for one in tensors if re.match(rf"blk\.[0-{first - 1}]\.", one.name)]
    late = [int(one.n_bytes) for one in tensors if re.match(rf"blk\.[{first}-9]\.|output", one.name)]
    return sum(early), sum(late)


def test_memory_is_back_when_the_model_is_freed(workers: list[Worker], layered_path: Path) -> None:
    before = devices_of(workers[:1])
    with context_on(before, layered_path):
        assert devices_of(workers[:1])[0].memory_free < before[0].memory_free
    assert devices_of(workers[:1]) == before


def test_a_graph_is_sent_again_when_another_context_was_freed(workers: list[Worker], layered_path: Path) -> None:
    """The server forgets all graphs when it frees memory; upstream then asks for one that it does not have."""
    devices = devices_of(workers[:1])
    with context_on(devices, layered_path) as ctx:
        other = context_of(llama.llama_get_model(ctx))
        found = []
        for step, tokens in enumerate((PROMPT, (7,), (8,), (9,))):
            assert decode(ctx, tokens) == 0
            found.append(logits_of(ctx).copy())
            if step == 2:
                llama.llama_free(other)
    np.testing.assert_array_equal(np.stack(found), computed_on([], layered_path))


def test_two_threads_compute_on_one_worker(workers: list[Worker], layered_path: Path) -> None:
    """Upstream has the server compute the last graph again, which may be the other thread's."""
    found: list[np.ndarray[Any, Any]] = []
    with context_on(devices_of(workers[:1]), layered_path) as ctx:
        contexts = [ctx, context_of(llama.llama_get_model(ctx), n_ctx=CONTEXT)]
        threads = [threading.Thread(target=lambda own=own: found.append(computed(own))) for own in contexts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        llama.llama_free(contexts[1])
    alone = computed_on([], layered_path)
    for one in found:
        np.testing.assert_array_equal(one, alone)
    assert len(found) == len(contexts)
