"""Frames of llama.cpp's RPC protocol 7.0, written by hand after the structs of its ggml-rpc.cpp."""

from __future__ import annotations

import enum
import socket
import struct

VERSION = (7, 0, 0)
CAPS = bytes(24)  # no RDMA


class Command(enum.IntEnum):
    """What a client asks for, by its number."""

    ALLOC_BUFFER = 0
    GET_ALIGNMENT = 1
    GET_MAX_SIZE = 2
    BUFFER_GET_BASE = 3
    FREE_BUFFER = 4
    BUFFER_CLEAR = 5
    SET_TENSOR = 6
    SET_TENSOR_HASH = 7
    GET_TENSOR = 8
    COPY_TENSOR = 9
    GRAPH_COMPUTE = 10
    GET_DEVICE_MEMORY = 11
    INIT_TENSOR = 12
    GET_ALLOC_SIZE = 13
    HELLO = 14
    DEVICE_COUNT = 15
    GRAPH_RECOMPUTE = 16
    MEMSET_TENSOR = 17


def request(command: int, data: bytes = b"") -> bytes:
    return struct.pack("<BQ", command, len(data)) + data


def answer(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def numbers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


HELLO = request(Command.HELLO, CAPS)


def hello_answer(version: tuple[int, int, int] = VERSION) -> bytes:
    return answer(bytes([*version, 0]) + CAPS)


def tensor(identity: int = 1, type: int = 0, buffer: int = 0, data: int = 0, op: int = 0, source: int = 0) -> bytes:
    """Return a tensor of eight numbers, or what stands for one."""
    lengths = struct.pack("<4I4I", 8, 1, 1, 1, 4, 32, 32, 32)
    head = struct.pack("<QIQ", identity, type, buffer) + lengths + struct.pack("<I", op) + bytes(64 + 4)
    return head + struct.pack("<10Q", source, *[0] * 9) + struct.pack("<3Q", 0, 0, data) + bytes(64 + 4)


def graph(nodes: list[int], tensors: list[bytes], device: int = 0) -> bytes:
    head = struct.pack("<2I", device, len(nodes)) + numbers(*nodes)
    return head + struct.pack("<I", len(tensors)) + b"".join(tensors)


def received(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes; fewer where the other side ends."""
    found = b""
    while len(found) < size and (piece := connection.recv(size - len(found))):
        found += piece
    return found


def received_request(connection: socket.socket) -> tuple[int, bytes] | None:
    """Read one request, or None where the client has left."""
    head = received(connection, 9)
    if len(head) < 9:
        return None
    command, size = struct.unpack("<BQ", head)
    return command, received(connection, size)


def received_answer(connection: socket.socket) -> bytes:
    return received(connection, struct.unpack("<Q", received(connection, 8))[0])
