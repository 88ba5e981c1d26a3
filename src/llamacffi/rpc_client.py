"""What `llamacffi.add_rpc_servers` does: servers of remote backends, llama.cpp's RPC over TCP, are added."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from ctypes import c_size_t

from llamacffi import device, llama_cpp
from llamacffi._native import LlamaError, LlamaValueError
from llamacffi.device import Devices

ADDRESS = re.compile(r"[^:\s]+:(\d{1,5})")
MOST_PORT = 65535


def add_rpc_servers(addresses: Iterable[str], timeout: float | None = None) -> Devices:
    """Connect to each, and list what they have."""
    endpoints = list(map(checked, addresses))
    if timeout is not None:
        os.environ["LLAMACFFI_RPC_TIMEOUT"] = str(timeout)
    return Devices(device.described(found) for endpoint in endpoints for found in added(endpoint))


def checked(address: str) -> str:
    """Return an address that upstream can read."""
    found = ADDRESS.fullmatch(address)
    if not found or not 0 < int(found[1]) <= MOST_PORT:
        raise LlamaValueError(f"{address!r} is no address of a server: give host:port, such as 192.168.0.7:50052")
    return address


def added(endpoint: str) -> list[int]:
    """Add a server, and return the addresses of its devices."""
    server = llama_cpp.ggml_backend_rpc_add_server(endpoint)
    if not server:
        raise LlamaError(f"the server {endpoint} of remote backends has no devices: see what it says where it runs")
    count = llama_cpp.ggml_backend_reg_dev_count(server)
    found = [llama_cpp.ggml_backend_reg_dev_get(server, index) for index in range(count)]
    for one in found:
        llama_cpp.ggml_backend_dev_memory(one, c_size_t(), c_size_t())  # a server that was added before may be gone
        device.added[llama_cpp.ggml_backend_dev_name(one).decode()] = one
    return found
