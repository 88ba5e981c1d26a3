"""llama_supports_gpu_offload() tells of this machine: upstream's is true wherever the RPC backend is linked in."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llamacffi import LlamaAssertionError
from llamacffi import llama_cpp as llama
from support.cells import alone, returns

pytestmark = alone  # a server that was added stays

SERVER = """
import ctypes, sys
from llamacffi import llama_cpp as llama
cpu = llama.ggml_backend_dev_by_type(llama.GGML_BACKEND_DEVICE_TYPE_CPU)
llama.ggml_backend_rpc_start_server(sys.argv[1], sys.argv[2], 1, 1, (ctypes.c_void_p * 1)(cpu))
"""
GPUS = (llama.GGML_BACKEND_DEVICE_TYPE_GPU, llama.GGML_BACKEND_DEVICE_TYPE_IGPU)


def gpus_in_c() -> int:
    devices = map(llama.ggml_backend_dev_get, range(llama.ggml_backend_dev_count()))
    return sum(llama.ggml_backend_dev_type(device) in GPUS for device in devices)


@contextlib.contextmanager
def rpc_server(folder: Path) -> Iterator[str]:
    """Have a server on the loopback, whose device is its CPU; give its endpoint. It keeps tensors in the folder."""
    port = free_port()
    endpoint = f"127.0.0.1:{port}"
    server = subprocess.Popen([sys.executable, "-c", SERVER, endpoint, folder], stdout=subprocess.DEVNULL)
    try:
        wait_for(port, server)
        yield endpoint
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


@returns(True)
def test_it_is_true_where_c_has_a_gpu() -> bool:
    return llama.llama_supports_gpu_offload() is (gpus_in_c() > 0)


@returns(True)
def test_the_rpc_backend_alone_is_no_device() -> bool:
    return llama.llama_supports_rpc() and llama.llama_supports_gpu_offload() is (gpus_in_c() > 0)


@returns((True, True))
def test_an_rpc_server_that_was_added_is_one(folder: Path) -> object:
    with rpc_server(folder) as endpoint:
        added = llama.ggml_backend_rpc_add_server(endpoint)
        return bool(added), llama.llama_supports_gpu_offload()


@returns(True)
def test_an_endpoint_without_a_server_is_none() -> bool:
    with pytest.raises(LlamaAssertionError, match="Failed to connect"):
        llama.ggml_backend_rpc_add_server(f"127.0.0.1:{free_port()}")
    return llama.llama_supports_gpu_offload() is (gpus_in_c() > 0)
