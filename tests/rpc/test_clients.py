"""Several clients of one worker: one after another and at once, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import llamacffi
from support.checkout import TESTS
from support.rpc_servers import Worker, worker

CLIENT = """
import sys
import llamacffi
from support.objects import context_of, decode, load_on, logits_of
ctx = context_of(load_on(llamacffi.add_rpc_servers(sys.argv[2:]), sys.argv[1]))
print("loaded", flush=True)
sys.stdin.readline()
decode(ctx, (1, 5, 9))
print(logits_of(ctx).tobytes().hex())
"""


def client(path: Path, *endpoints: str) -> subprocess.Popen[str]:
    """Start a process that loads the model on workers, and computes when it is told to."""
    command = [sys.executable, "-c", CLIENT, str(path), *endpoints]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)


def wait_until_loaded(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    line = process.stdout.readline()
    assert line == "loaded\n", process.communicate()[1]


def logits(process: subprocess.Popen[str]) -> str:
    found, errors = process.communicate("go\n")
    assert process.returncode == 0, errors
    return found


def needed(path: Path, idle: Worker) -> int:
    """Return how much a client takes of a worker that has no other."""
    free = llamacffi.add_rpc_servers([idle.endpoint])[0].memory_free
    first = client(path, idle.endpoint)
    wait_until_loaded(first)
    taken = free - llamacffi.add_rpc_servers([idle.endpoint])[0].memory_free
    assert logits(first)
    return taken


@pytest.fixture(scope="module")
def alone(layered_path: Path) -> str:
    """What a process computes without a worker."""
    process = client(layered_path)
    wait_until_loaded(process)
    return logits(process)


def test_clients_at_once_and_after_each_other_compute_the_same(
    workers: list[Worker], layered_path: Path, alone: str
) -> None:
    at_once = [client(layered_path, workers[0].endpoint) for _ in range(2)]
    for one in at_once:
        wait_until_loaded(one)  # both have their weights there now
    assert [logits(one) for one in at_once] == [alone, alone]
    later = client(layered_path, workers[0].endpoint)
    wait_until_loaded(later)
    assert logits(later) == alone


def test_all_clients_together_take_no_more_than_the_worker_lends(workers: list[Worker], layered_path: Path) -> None:
    with worker(memory=int(1.5 * needed(layered_path, workers[2]))) as one:
        first = client(layered_path, one.endpoint)
        wait_until_loaded(first)
        second = client(layered_path, one.endpoint)
        _, errors = second.communicate("go\n")
        assert "failed to allocate" in errors
        assert logits(first)
        third = client(layered_path, one.endpoint)  # what the first had is free again
        wait_until_loaded(third)
        assert logits(third)


def test_a_client_that_dies_leaves_the_worker_as_it_was(workers: list[Worker], layered_path: Path, alone: str) -> None:
    first = client(layered_path, workers[1].endpoint)
    wait_until_loaded(first)
    first.kill()
    first.communicate()
    second = client(layered_path, workers[1].endpoint)
    wait_until_loaded(second)
    assert logits(second) == alone
