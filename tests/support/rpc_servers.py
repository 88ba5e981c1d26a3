"""Servers of remote backends, as processes of their own on the loopback."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SERVER = """
import ctypes, sys
from llamacffi import llama_cpp as llama
cpu = llama.ggml_backend_dev_by_type(llama.GGML_BACKEND_DEVICE_TYPE_CPU)
llama.ggml_backend_rpc_start_server(sys.argv[1], sys.argv[2], 1, 1, (ctypes.c_void_p * 1)(cpu))
"""


@contextlib.contextmanager
def rpc_server(folder: Path) -> Iterator[str]:
    """Have a server on the loopback, whose device is its CPU; give its endpoint. It keeps tensors in the folder."""
    with rpc_process(folder) as (endpoint, _):
        yield endpoint


@contextlib.contextmanager
def rpc_process(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The same, with the process, which can be stopped or killed."""
    port = free_port()
    endpoint = f"127.0.0.1:{port}"
    # Nobody may wait for its output, should this process die and leave it behind.
    command = [sys.executable, "-c", SERVER, endpoint, str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, server)
        yield endpoint, server
    finally:
        server.kill()
        server.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise AssertionError(f"no server on port {port}; it ended with {server.poll()}")
