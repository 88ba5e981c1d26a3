"""Whatever a client sends, the server goes on: a worker, of which one process ends at most, and llama.cpp's own."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.rpc_frames import HELLO, Command, answer, graph, numbers, received, received_answer, request, tensor
from support.rpc_servers import Worker, rpc_server, worker

UNKNOWN = numbers(0x1234)
HUGE = 2**62
FIRST = 8 + 28  # the answer to HELLO
ADD, BEYOND = 2, 9999  # of ggml_op

BEFORE_HELLO: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"\x0e",
    "HTTP": b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n",
    "noise": bytes(range(255, -1, -1)) * 64,
    "another command first": request(Command.DEVICE_COUNT),
    "a hello of another size": request(Command.HELLO, bytes(8)),
    "a hello without end": struct.pack("<BQ", Command.HELLO, HUGE),
    "half of a hello": HELLO[:20],
}
AFTER_HELLO: dict[str, bytes] = {
    "an unknown command": request(200),
    "no command": request(18),
    "a second hello": HELLO,
    "half of a frame": request(Command.ALLOC_BUFFER, bytes(12))[:15],
    "a frame of another size": request(Command.ALLOC_BUFFER, bytes(3)),
    "a tensor without end": struct.pack("<BQ", Command.SET_TENSOR, HUGE) + bytes(4096),
    "a tensor of one byte": request(Command.SET_TENSOR, b"\x00"),
    "a tensor in no buffer": request(Command.SET_TENSOR, tensor(data=64) + bytes(9 + 32)),
    "a tensor of no type": request(Command.INIT_TENSOR, tensor(type=BEYOND)),
    "a device that is not there": request(Command.GET_ALIGNMENT, struct.pack("<I", 7)),
    "memory without end": request(Command.ALLOC_BUFFER, struct.pack("<IQ", 0, HUGE)),
    "freeing what is not there": request(Command.FREE_BUFFER, UNKNOWN),
    "clearing what is not there": request(Command.BUFFER_CLEAR, UNKNOWN + b"\x01"),
    "the base of what is not there": request(Command.BUFFER_GET_BASE, UNKNOWN),
    "reading what is not there": request(Command.GET_TENSOR, tensor(data=4096) + numbers(0, 32)),
    "copying what is not there": request(Command.COPY_TENSOR, tensor() + tensor()),
    "no graph again": request(Command.GRAPH_RECOMPUTE, struct.pack("<I", 0)),
    "a graph that is cut off": request(Command.GRAPH_COMPUTE, struct.pack("<2I", 0, 1000)),
    "a graph of nothing": request(Command.GRAPH_COMPUTE, graph([0], [])),
    "a graph of what is not there": request(Command.GRAPH_COMPUTE, graph([5], [tensor(5, op=ADD, source=6)])),
    "a graph of no operation": request(Command.GRAPH_COMPUTE, graph([5], [tensor(5, op=BEYOND)])),
    "a sum of nothing": request(Command.GRAPH_COMPUTE, graph([5], [tensor(5, op=ADD)])),
    "a chain of a hundred thousand": request(
        Command.GRAPH_COMPUTE, graph([1], [tensor(one, op=ADD, source=one + 1) for one in range(1, 100_000)])
    ),
}


@contextlib.contextmanager
def connected(endpoint: str, *, hello: bool = True) -> Iterator[socket.socket]:
    host, port = endpoint.split(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        if hello:
            connection.sendall(HELLO)
            assert len(received(connection, FIRST)) == FIRST
        yield connection


def send(endpoint: str, frame: bytes, *, hello: bool) -> None:
    """Send it, and wait until the server has ended the connection, or answered."""
    with connected(endpoint, hello=hello) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(frame)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def works(endpoint: str) -> bool:
    """Tell whether a server gives memory, and keeps in it what is put there."""
    with connected(endpoint) as connection:
        connection.sendall(request(Command.ALLOC_BUFFER, struct.pack("<IQ", 0, 4096)))
        buffer = received_answer(connection)[:8]
        connection.sendall(request(Command.BUFFER_GET_BASE, buffer))
        place = tensor(1, 0, *struct.unpack("<2Q", buffer + received_answer(connection)))
        content = struct.pack("<8f", *range(8))
        connection.sendall(request(Command.SET_TENSOR, place + b"\x00" + numbers(0) + content))
        connection.sendall(request(Command.GET_TENSOR, place + numbers(0, len(content))))
        return received_answer(connection) == content


@pytest.fixture(scope="module")
def one() -> Iterator[Worker]:
    with worker() as started:
        yield started


@pytest.mark.parametrize("name", BEFORE_HELLO)
def test_a_worker_goes_on_after_what_is_no_hello(one: Worker, name: str) -> None:
    send(one.endpoint, BEFORE_HELLO[name], hello=False)
    assert works(one.endpoint)


@pytest.mark.parametrize("name", AFTER_HELLO)
def test_a_worker_goes_on_after_what_is_no_request(one: Worker, name: str) -> None:
    send(one.endpoint, AFTER_HELLO[name], hello=True)
    assert works(one.endpoint)


def test_a_worker_answers_while_another_client_says_nothing(one: Worker) -> None:
    with connected(one.endpoint, hello=False), connected(one.endpoint):
        assert works(one.endpoint)


def test_a_worker_says_that_it_answers_others(one: Worker) -> None:
    """In the byte that llama.cpp's own server leaves 0: its clients ignore it."""
    with connected(one.endpoint, hello=False) as connection:
        connection.sendall(HELLO)
        assert received(connection, FIRST) == answer(bytes([7, 0, 0, 1]) + bytes(24))


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """llama.cpp's own server, in one process."""
    with rpc_server(tmp_path_factory.mktemp("cache")) as endpoint:
        yield endpoint


def test_a_failed_assertion_ends_a_connection_and_not_the_server(upstream: str) -> None:
    with connected(upstream) as connection:
        connection.sendall(request(Command.ALLOC_BUFFER, struct.pack("<IQ", 0, 16)))
        buffer = struct.unpack("<Q", received_answer(connection)[:8])[0]
        connection.sendall(request(Command.INIT_TENSOR, tensor(buffer=buffer, data=1)))
        assert connection.recv(1) == b""
    assert works(upstream)


def test_a_message_without_end_takes_no_memory(upstream: str) -> None:
    send(upstream, AFTER_HELLO["a tensor without end"], hello=True)
    assert works(upstream)


def test_a_cache_file_that_is_cut_off_is_not_used(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A server that was killed may leave one; upstream loads it, and the weights are wrong in silence."""
    content = bytes(range(32))
    hashed = fnv(content)
    folder = next(Path(tmp_path_factory.getbasetemp()).glob("cache*"))
    with connected(upstream) as connection:
        connection.sendall(request(Command.ALLOC_BUFFER, struct.pack("<IQ", 0, 8192)))
        buffer = received_answer(connection)[:8]
        connection.sendall(request(Command.BUFFER_GET_BASE, buffer))
        place = tensor(1, 0, *struct.unpack("<2Q", buffer + received_answer(connection)))
        ask = request(Command.SET_TENSOR_HASH, place + numbers(0, hashed))
        connection.sendall(request(Command.SET_TENSOR, place + b"\x01" + numbers(0) + content) + ask)
        assert received_answer(connection) == b"\x01"
        file = folder / f"{hashed:016x}"
        assert [one.name for one in folder.iterdir()] == [file.name]
        assert file.read_bytes() == content
        file.write_bytes(content[:10])
        connection.sendall(ask)
        assert received_answer(connection) == b"\x00"


def fnv(content: bytes) -> int:
    """Hash as FNV-1a does."""
    found = 0xCBF29CE484222325
    for byte in content:
        found = (found ^ byte) * 0x100000001B3 % 2**64
    return found


def test_a_worker_ends_a_client_that_says_no_hello_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one that has said it may be silent."""
    monkeypatch.setenv("LLAMACFFI_RPC_TIMEOUT", "1")
    with worker() as one, connected(one.endpoint) as good, connected(one.endpoint, hello=False) as silent:
        started = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - started > 0.9
        good.sendall(request(Command.DEVICE_COUNT))
        assert received_answer(good) == struct.pack("<I", 1)
