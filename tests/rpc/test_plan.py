"""`llamacffi plan` divides a model as llama.cpp does, and knows what crosses the network for a token."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import gguf
import pytest

import llamacffi
from llamacffi import llama_cpp as llama
from llamacffi.cli import plan
from llamacffi.cli.main import main
from support import tiny_model
from support.objects import context_of, decode, load_on, logits_of
from support.processes import Ended
from support.rpc_servers import Worker

GIB = 2**30


@pytest.fixture(scope="module")
def wide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose activations are larger than what stands around them."""
    return tiny_model.write(tmp_path_factory.mktemp("plan") / "wide.gguf", tiny_model.Shape(layers=4, width=512))


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ended:
    status = main(["plan", *map(str, arguments)])
    said = capsys.readouterr()
    return Ended(arguments, status, said.out, said.err)


@pytest.mark.parametrize("memories", [[1.0, 3.0], [5.0, 1.0, 1.0], [1.0, 1.0, 100.0]])
def test_layers_go_where_llama_cpp_puts_them(workers: list[Worker], layered_path: Path, memories: list[float]) -> None:
    """By the weights that each worker then has: its memory is asked before and after."""
    devices = llamacffi.add_rpc_servers(worker.endpoint for worker in workers[: len(memories)])
    model = load_on(devices, layered_path, tensor_split=memories)
    loaded = llamacffi.add_rpc_servers(worker.endpoint for worker in workers[: len(memories)])
    taken = [before.memory_free - after.memory_free for before, after in zip(devices, loaded, strict=True)]
    llama.llama_model_free(model)
    layers = layer_bytes(layered_path)
    places = plan.split(len(layers), memories)
    for place, found in zip(places, taken, strict=True):
        weights = sum(layers[place.start : place.stop])
        assert weights <= found < weights + min(layers)


def layer_bytes(path: Path) -> list[int]:
    """Return the bytes of each layer and of the output, as the gguf package reads them."""
    sizes: dict[str, int] = {}
    for one in gguf.GGUFReader(path).tensors:
        found = re.match(r"blk\.\d+|output", one.name)
        if found:
            sizes[found[0]] = sizes.get(found[0], 0) + int(one.n_bytes)
    return [sizes[name] for name in sorted(sizes)]


@contextlib.contextmanager
def counting(worker: Worker) -> Iterator[tuple[str, list[int]]]:
    """Stand between a worker and its clients; give the endpoint, and the bytes that pass there and back."""
    listening = socket.create_server(("127.0.0.1", 0))
    counts = [0, 0]

    def pass_on(source: socket.socket, target: socket.socket, way: int) -> None:
        while piece := source.recv(1 << 20):
            counts[way] += len(piece)
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listening.accept()[0]
                server = socket.create_connection(("127.0.0.1", worker.port))
                for ends in ((client, server, 0), (server, client, 1)):
                    threading.Thread(target=pass_on, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}", counts
        listening.shutdown(socket.SHUT_RDWR)


def test_bytes_a_token_are_those_that_cross_the_network(workers: list[Worker], wide_path: Path) -> None:
    """From the second token on, when the worker has the graph."""
    sizes = plan.sizes_of(wide_path, 256)
    with counting(workers[0]) as first, counting(workers[1]) as second:
        links = (first, second)
        model = load_on(llamacffi.add_rpc_servers([one[0] for one in links]), wide_path, tensor_split=[1, 1])
        ctx = context_of(model)
        for token in range(3):
            decode(ctx, [token + 5])
            logits_of(ctx)
        before = [list(counts) for _, counts in links]
        for token in range(10):
            decode(ctx, [token + 5])
            logits_of(ctx)
        crossed = [
            [(b - a) / 10 for a, b in zip(was, one[1], strict=True)] for was, one in zip(before, links, strict=True)
        ]
        llama.llama_free(ctx)
        llama.llama_model_free(model)
    for counts, is_last in zip(crossed, (False, True), strict=True):
        assert counts == pytest.approx(plan.traffic(sizes, is_last=is_last), rel=0.1)


def test_a_slower_network_makes_it_slower_by_what_crosses_it(wide_path: Path) -> None:
    sizes = plan.sizes_of(wide_path, 256)
    near, far = (plan.parts(sizes, [plan.Worker(GIB, 1e8, delay)], 1e10)[0] for delay in (0.0, 0.02))
    assert far.seconds - near.seconds == pytest.approx(0.02)
    weights = sum(sizes.layers) / 1e10
    assert near.seconds == pytest.approx(weights + 8 * (near.sent + near.received) / 1e8)


def test_it_prints_a_table_and_json(capsys: pytest.CaptureFixture[str], layered_path: Path) -> None:
    workers = ("--worker", "1GB", "--worker", "3GB,100,5", "--speed", "10")
    table = run(capsys, layered_path, *workers)
    assert table.returncode == 0, table.stderr
    assert re.search(r"Tokens a second\n +on these workers +[\d.]+\n", table.stdout)
    told = json.loads(run(capsys, layered_path, *workers, "--json").stdout)
    assert [part["layers"] for part in told["workers"]] == [2, 5]
    assert sum(layer_bytes(layered_path)) == told["weights"]


def test_what_does_not_fit_is_told(capsys: pytest.CaptureFixture[str], layered_path: Path) -> None:
    said = run(capsys, layered_path, "--worker", "0.001", "--speed", "10")
    assert said.returncode == 1
    assert "the model does not fit" in said.stderr


@pytest.mark.parametrize("given", ["much", "16GB,100", "16TB", "1,2,3,4", ""])
def test_what_is_no_worker_is_told(capsys: pytest.CaptureFixture[str], layered_path: Path, given: str) -> None:
    said = run(capsys, layered_path, "--worker", given)
    assert (said.returncode, said.stderr.count("\n")) == (1, 1)
    assert "is no worker: give MEMORY or MEMORY,BANDWIDTH,DELAY" in said.stderr
