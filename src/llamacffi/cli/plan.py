"""`llamacffi plan`: what of a model goes to which worker, what crosses the network for a token, and how fast that is.

Nothing is loaded or connected. llama.cpp's rules are followed: layers go to workers by their memory, one worker
computes after the other, and each takes what it needs from this machine and gives what comes out back to it, one round
trip each. A machine is taken to compute a token as fast as it reads the weights.
"""

from __future__ import annotations

import ctypes
import re
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

import llamacffi
from llamacffi.cli import CommandError, gguf_file, inspect, terminal
from llamacffi.cli.options import AS_JSON, ContextSize

LAYER = re.compile(r"blk\.(\d+)\.")
WORKER = re.compile(r"([\d.]+)(MB|GB)?(?:,([\d.]+),([\d.]+))?")
BYTES = {None: 10**6, "MB": 10**6, "GB": 10**9}
LAN = (1000.0, 0.2)  # Mbit/s, and ms there and back

# The bytes of the protocol of ggml-rpc.cpp: what stands around the numbers of a tensor that is set or asked for, and
# the command that has the last graph computed again.
SET, GET, AGAIN, ANSWER = 314, 321, 13, 8
NUMBER = 4  # bytes of a number that is computed with
SMALL, SMALL_INPUTS = 8, 4  # bytes at most; the position, two places in the cache, which logits
MASK = 2 * 256  # two bytes for each cell of the cache, which grows in steps of so many
COPIED = 64 << 20

File = Annotated[Path, typer.Argument(metavar="MODEL", help="A GGUF file.", show_default=False)]
Workers = Annotated[
    list[str],
    typer.Option(
        "--worker", metavar="MEMORY[,BANDWIDTH,DELAY]", help="MB or 16GB, Mbit/s (1000), ms there and back (0.2)."
    ),
]
Speed = Annotated[
    float | None, typer.Option("--speed", metavar="GB/S", help="Weights a machine reads a second (measured here).")
]


class Worker(NamedTuple):
    """A machine, and how it is reached."""

    memory: float
    """In bytes."""
    bandwidth: float
    """In bits a second."""
    delay: float
    """In seconds, there and back."""


class Model(NamedTuple):
    """The sizes that count, in bytes where they are none of numbers."""

    layers: list[int]
    """Each layer's weights; the output is the last."""
    cache: int
    """Of one layer, for the whole context."""
    compute: int
    width: int
    vocabulary: int


class Part(NamedTuple):
    """What a worker gets."""

    layers: int
    memory: int
    fits: bool
    sent: int
    """Bytes to it for each token."""
    received: int
    seconds: float
    """For each token."""


def plan(
    model: File, worker: Workers, ctx_size: ContextSize = None, speed: Speed = None, as_json: AS_JSON = False
) -> None:
    """Foresee a model on several machines."""
    workers = list(map(parsed, worker))
    rate = speed * 10**9 if speed else memory_speed()
    sizes = sizes_of(model, ctx_size)
    found = parts(sizes, workers, rate)
    told = {
        "workers": [part._asdict() for part in found],
        "weights": sum(sizes.layers),
        "speed": rate,
        "alone": rate / sum(sizes.layers),
        "tokens_per_second": 1 / sum(part.seconds for part in found),
    }
    if as_json:
        terminal.show_json(told)
        return
    show(told, workers)


def parsed(given: str) -> Worker:
    """Read what --worker says."""
    found = WORKER.fullmatch(given)
    if not found:
        raise CommandError(f"{given!r} is no worker: give MEMORY or MEMORY,BANDWIDTH,DELAY, such as 16GB,1000,0.2")
    bandwidth, delay = (float(found[3]), float(found[4])) if found[3] else LAN
    return Worker(float(found[1]) * BYTES[found[2]], bandwidth * 10**6, delay / 1000)


def sizes_of(path: Path, ctx_size: int | None) -> Model:
    """Read the sizes from a file, and let llama.cpp say what a context needs."""
    file = gguf_file.read(path)
    needed = inspect.memory(path, file, ctx_size)
    if needed is None:
        raise CommandError(f"{path} is no whole model that llama.cpp knows")
    layers = layer_sizes(file.tensors)
    return Model(layers, needed["cache"] // (len(layers) - 1), needed["compute"], *widths(file))


def widths(file: gguf_file.File) -> tuple[int, int]:
    embeddings = next(tensor for tensor in file.tensors if tensor.name == "token_embd.weight")
    return embeddings.shape[0], embeddings.shape[1]


def layer_sizes(tensors: Iterable[gguf_file.Tensor]) -> list[int]:
    """Add up the weights of each layer; the output's come last, and are the embeddings where it has none."""
    sizes: dict[int, int] = {}
    others = {tensor.name: tensor.size for tensor in tensors if not LAYER.match(tensor.name)}
    for tensor in tensors:
        if found := LAYER.match(tensor.name):
            sizes[int(found[1])] = sizes.get(int(found[1]), 0) + tensor.size
    output = sum(size for name, size in others.items() if name.startswith("output"))
    if "output.weight" not in others:
        output += others["token_embd.weight"]
    return [*(sizes[number] for number in sorted(sizes)), output]


# ---------------------------------------------------------------- what goes where


def parts(model: Model, workers: Sequence[Worker], rate: float) -> list[Part]:
    """Return what each worker gets, and what that costs."""
    places = split(len(model.layers), [worker.memory for worker in workers])
    return [part(model, worker, layers, rate) for worker, layers in zip(workers, places, strict=True)]


def split(layers: int, memories: Sequence[float]) -> list[range]:
    """Divide layers among workers by their memory, as llama.cpp does."""
    ends = [total / sum(memories) for total in accumulate(memories)]
    owners = [bisect_right(ends, layer / layers) for layer in range(layers)]
    return [
        range(owners.index(own), owners.index(own) + owners.count(own)) if own in owners else range(0)
        for own in range(len(memories))
    ]


def part(model: Model, worker: Worker, layers: range, rate: float) -> Part:
    if not layers:
        return Part(0, 0, True, 0, 0, 0.0)
    weights = sum(model.layers[layers.start : layers.stop])
    is_last = layers.stop == len(model.layers)
    memory = weights + model.cache * (len(layers) - is_last) + model.compute
    sent, received = traffic(model, is_last=is_last)
    seconds = weights / rate + worker.delay + 8 * (sent + received) / worker.bandwidth
    return Part(len(layers), memory, memory <= worker.memory, sent, received, seconds)


def traffic(model: Model, *, is_last: bool) -> tuple[int, int]:
    """Return the bytes to a worker and back, for one token."""
    inputs = (SET + NUMBER * model.width) + (SET + MASK) + SMALL_INPUTS * (SET + SMALL)
    return inputs + AGAIN + GET, ANSWER + NUMBER * (model.vocabulary if is_last else model.width)


def memory_speed() -> float:
    """Return how many bytes a second all threads read together: what they copy, once read and once written."""
    buffers = [(ctypes.create_string_buffer(COPIED), ctypes.create_string_buffer(COPIED)) for _ in cpus()]
    threads = [threading.Thread(target=ctypes.memmove, args=(*pair, COPIED)) for pair in buffers]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 2 * COPIED * len(threads) / (time.perf_counter() - started)


def cpus() -> range:
    return range(llamacffi.usable_cpus())


# ---------------------------------------------------------------- the table


def show(told: dict[str, Any], workers: Sequence[Worker]) -> None:
    columns = {"worker": True, "layers": True, "memory": True, "of": True, "to it": True, "back": True, "ms": True}
    rows = [row(number, *pair) for number, pair in enumerate(zip(told["workers"], workers, strict=True))]
    terminal.show_table("What each worker gets, and what a token costs there", columns, rows)
    terminal.show_facts(
        "Tokens a second",
        {
            "on these workers": f"{told['tokens_per_second']:.1f}",
            "on one machine": f"{told['alone']:.1f}, where it has the memory",
            "taken for it": f"{told['speed'] / 1e9:.1f} GB of weights a second",
        },
    )
    if not all(part["fits"] for part in told["workers"]):
        raise CommandError("the model does not fit: give more memory, more workers, or a smaller --ctx-size")


def row(number: int, part: dict[str, Any], worker: Worker) -> list[str]:
    memory = [terminal.size(part["memory"]), terminal.size(worker.memory)]
    link = [terminal.size(part["sent"]), terminal.size(part["received"])]
    return [str(number), str(part["layers"]), *memory, *link, f"{1000 * part['seconds']:.1f}"]
