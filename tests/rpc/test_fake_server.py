"""What speaks something else than a server does, at any point, is an exception that names it, or no model."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

import llamacffi
from llamacffi import LlamaError, last_error
from llamacffi import llama_cpp as llama
from support.cells import returns
from support.objects import context_of, decode, load, load_on
from support.rpc_frames import Command, answer, hello_answer, numbers, received_request

HUGE = 2**63
BASE = 2**32

# What a good server answers that holds no memory: a client does not notice before it reads something back.
GOOD: dict[int, Callable[[bytes], bytes]] = {
    Command.HELLO: lambda _data: hello_answer(),
    Command.DEVICE_COUNT: lambda _data: answer(struct.pack("<I", 1)),
    Command.GET_ALIGNMENT: lambda _data: answer(numbers(32)),
    Command.GET_MAX_SIZE: lambda _data: answer(numbers(HUGE)),
    Command.GET_DEVICE_MEMORY: lambda _data: answer(numbers(2**30, 2**30)),
    Command.ALLOC_BUFFER: lambda data: answer(numbers(BASE, *struct.unpack("<4xQ", data))),
    Command.BUFFER_GET_BASE: lambda _data: answer(numbers(BASE)),
    Command.GET_ALLOC_SIZE: lambda _data: answer(numbers(2**16)),
    Command.GET_TENSOR: lambda data: answer(bytes(struct.unpack("<Q", data[-8:])[0])),
}

# The request at which it goes wrong, and what comes then, before the connection ends.
WRONG: dict[str, tuple[Command, bytes]] = {
    "ends at once": (Command.HELLO, b""),
    "says three bytes": (Command.HELLO, b"\x1c\x00\x00"),
    "speaks HTTP": (Command.HELLO, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    "speaks SSH": (Command.HELLO, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "sends noise": (Command.HELLO, bytes(range(256)) * 16),
    "says half of hello": (Command.HELLO, hello_answer()[:20]),
    "says hello too long": (Command.HELLO, answer(bytes(29))),
    "says hello without end": (Command.HELLO, numbers(HUGE) + bytes(4096)),
    "is of version 6": (Command.HELLO, hello_answer((6, 0, 0))),
    "is of version 8": (Command.HELLO, hello_answer((8, 0, 0))),
    "is of version 7.1": (Command.HELLO, hello_answer((7, 1, 0))),
    "has no devices": (Command.DEVICE_COUNT, answer(struct.pack("<I", 0))),
    "has four billion devices": (Command.DEVICE_COUNT, answer(struct.pack("<I", 2**32 - 1))),
    "counts in one byte": (Command.DEVICE_COUNT, answer(b"\x01")),
    "has more memory free than there is": (Command.GET_DEVICE_MEMORY, answer(numbers(2**40, 2**30))),
    "tells half of its memory": (Command.GET_DEVICE_MEMORY, answer(numbers(2**30, 2**30))[:16]),
    "aligns to nothing": (Command.GET_ALIGNMENT, answer(numbers(0))),
    "aligns to three": (Command.GET_ALIGNMENT, answer(numbers(3))),
    "holds nothing": (Command.GET_MAX_SIZE, answer(numbers(0))),
    "ends at the alignment": (Command.GET_ALIGNMENT, b""),
    "gives no memory": (Command.ALLOC_BUFFER, answer(numbers(0, 0))),
    "gives less memory": (Command.ALLOC_BUFFER, answer(numbers(BASE, 64))),
    "gives memory at NULL": (Command.BUFFER_GET_BASE, answer(numbers(0))),
    "gives memory at the end": (Command.BUFFER_GET_BASE, answer(numbers(2**64 - 32))),
    "ends when weights come": (Command.SET_TENSOR, b""),
    "ends when a graph comes": (Command.GRAPH_COMPUTE, b""),
    "gives short logits": (Command.GET_TENSOR, answer(bytes(8))),
    "gives logits without end": (Command.GET_TENSOR, numbers(HUGE) + bytes(4096)),
    "gives half of the logits": (Command.GET_TENSOR, numbers(275 * 4) + bytes(100)),
}


def fake(at: Command, says: bytes) -> str:
    """Serve as a good server would, but at one request; return the endpoint."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while request := received_request(connection):
                command, data = request
                if command == at:
                    connection.sendall(says)
                    return
                if command in GOOD:
                    connection.sendall(GOOD[command](data))

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return f"127.0.0.1:{listening.getsockname()[1]}"


def used(endpoint: str) -> str:
    """Add a server, load a model there, and compute with it; return what was said against that."""
    try:
        devices = llamacffi.add_rpc_servers([endpoint], timeout=2)
        model = load_on(devices)
        if not model:
            return last_error()
        ctx = context_of(model)
        if not ctx:
            return last_error()
        decode(ctx)
        llama.llama_get_logits_ith(ctx, -1)
    except LlamaError as error:
        return str(error)
    return "nothing"


def local() -> int:
    return decode(context_of(load()))


@pytest.mark.parametrize("name", WRONG)
@returns((True, 0))
def test_what_a_server_must_not_say_is_told_with_its_name(name: str) -> Any:
    endpoint = fake(*WRONG[name])
    said = used(endpoint)
    return endpoint in said or said, local()


@returns("nothing")
def test_a_server_that_says_what_it_must_is_believed() -> str:
    """Else the test above would show nothing: this one serves all requests, and computes zeros."""
    return used(fake(Command.COPY_TENSOR, b""))
