"""Measure tokens a second on workers behind a slow network, and what `llamacffi plan` foresees of it.

    python benchmarks/rpc.py [MODEL] [--workers 2] [--check]

The workers are processes of this machine. Between them and the client stands a relay, which lets each byte wait for
half of the delay in each direction, and no more through than the bandwidth: in the place of `tc netem`, which wants
root and a kernel that has it. Each network takes turns with no network, from which the plan is given how fast a machine
computes: what else this machine does meets both. `--check` exits with 1 where a prediction is off by more than 25 %.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import multiprocessing
import queue
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import llamacffi
from llamacffi import default_model, llama_cpp
from llamacffi.cli import engine, plan
from llamacffi.cli.options import Engine

PIECE = 1 << 20  # few: on a busy machine each costs the relay a time slice
PROMPT = [1] * 8
WARM, MEASURED, ROUNDS = 4, 12, 5
GIGABIT = 1000.0
MEMORY = 1 << 34  # of a worker in the plan: what it has does not matter here
TOLERANCE = 0.25


class Network(NamedTuple):
    """What is between the client and a worker."""

    delay: float
    """In ms, there and back."""
    bandwidth: float
    """In Mbit/s, each way."""


NONE = Network(0, 1e6)
NETWORKS = [Network(delay, GIGABIT) for delay in (0, 1, 5, 20)] + [Network(delay, 100.0) for delay in (0, 1, 5, 20)]


# ---------------------------------------------------------------- the relay, in a process of its own


def relay(port: int, settings: Any, given: Any) -> None:
    """Let clients through to a port of the loopback; tell the port that stands for it."""
    listening = socket.create_server(("127.0.0.1", 0))
    given.send(listening.getsockname()[1])
    while True:
        client = listening.accept()[0]
        server = socket.create_connection(("127.0.0.1", port))
        for source, target in ((client, server), (server, client)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
            threading.Thread(target=take, args=(source, waiting, settings), daemon=True).start()
            threading.Thread(target=give, args=(target, waiting), daemon=True).start()


def take(source: socket.socket, waiting: queue.SimpleQueue[tuple[float, bytes]], settings: Any) -> None:
    """Read, and note of each piece when it would have arrived."""
    free = 0.0  # when the line has sent what it was given
    while piece := source.recv(PIECE):
        delay, bandwidth = settings
        free = max(free, time.monotonic()) + 8 * len(piece) / (bandwidth * 1e6)
        waiting.put((free + delay / 2000, piece))
    waiting.put((free, b""))


def give(target: socket.socket, waiting: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    while True:
        due, piece = waiting.get()
        if (left := due - time.monotonic()) > 0:
            time.sleep(left)
        if not piece:
            target.shutdown(socket.SHUT_WR)
            return
        target.sendall(piece)


@contextlib.contextmanager
def worker(settings: Any) -> Iterator[str]:
    """Have a worker on the loopback behind a relay; give the address of the relay."""
    command = [sys.executable, "-m", "llamacffi", "rpc-server", "--port", "0", "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    found = re.search(r":(\d+) ", process.stdout.readline())
    assert found
    here, there = multiprocessing.Pipe()
    between = multiprocessing.Process(target=relay, args=(int(found[1]), settings, there), daemon=True)
    between.start()
    yield f"127.0.0.1:{here.recv()}"
    between.kill()
    process.terminate()
    process.wait()


# ---------------------------------------------------------------- the client


def seconds_a_token(context: int) -> float:
    """Return the median of some tokens, each with its logits read."""
    memory = llama_cpp.llama_get_memory(context)
    llama_cpp.llama_memory_clear(memory, True)
    engine.decode(context, PROMPT)
    found = []
    for _ in range(WARM + MEASURED):
        started = time.perf_counter()
        engine.decode(context, [1])
        llama_cpp.llama_synchronize(context)
        found.append(time.perf_counter() - started)
    return statistics.median(found[WARM:])


def measured(context: int, settings: Any, network: Network) -> tuple[float, float]:
    """Return the seconds of a token behind a network and without one, in turns; the fastest round of each counts."""
    pairs = []
    for _ in range(ROUNDS):
        pair = []
        for one in (network, NONE):
            settings[:] = one
            pair.append(seconds_a_token(context))
        pairs.append(pair)
    behind, without = (min(times) for times in zip(*pairs, strict=True))
    return behind, without


def foreseen(sizes: plan.Model, workers: int, network: Network, without: float) -> float:
    """Return the tokens a second of the plan, for machines that compute as this one does without a network."""
    rate = sum(sizes.layers) / without
    each = plan.Worker(MEMORY, network.bandwidth * 1e6, network.delay / 1000)
    return 1 / sum(part.seconds for part in plan.parts(sizes, [each] * workers, rate))


def compare(model: Path, workers: int) -> Iterator[float]:
    """Print a line for each network, and yield by how much the plan is off."""
    settings = multiprocessing.Array("d", NONE, lock=False)
    engine.quieten()
    sizes = plan.sizes_of(model, 512)
    with contextlib.ExitStack() as stack:
        addresses = [stack.enter_context(worker(settings)) for _ in range(workers)]
        loaded = stack.enter_context(engine.loaded(model, ",".join(addresses), tensor_split=shares(workers)))
        context = stack.enter_context(engine.context_of(loaded, Engine(threads=1), 512))
        print(f"{'ms':>4} {'Mbit/s':>7} {'tokens/s':>9} {'foreseen':>9} {'off':>6} {'no network':>11}")
        for network in NETWORKS:
            behind, without = measured(context, settings, network)
            expected = foreseen(sizes, workers, network, without)
            off = expected * behind - 1
            numbers = f"{1 / behind:>9.1f} {expected:>9.1f} {off:>6.0%} {1 / without:>11.1f}"
            print(f"{network.delay:>4.0f} {network.bandwidth:>7.0f} {numbers}", flush=True)
            yield abs(off)


def shares(workers: int) -> Any:
    """Return as much for each."""
    most = llama_cpp.llama_max_devices()
    return (ctypes.c_float * most)(*[1.0] * workers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, help="a GGUF file (the demo's)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--check", action="store_true", help="exit with 1 where the plan is off by more than 25 %%")
    given = parser.parse_args()
    worst = max(compare(given.model or default_model.model_path(), given.workers))
    print(f"the plan is off by at most {worst:.0%} (llamacffi {llamacffi.__version__})")
    return int(given.check and worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
