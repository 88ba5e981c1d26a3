"""`llamacffi rpc-server`: this machine's devices for llama.cpp on other machines."""

from __future__ import annotations

import ipaddress
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

import llamacffi
from llamacffi import rpc_server as server
from llamacffi.cli import terminal

MB = 10**6

Host = Annotated[str, typer.Option("--host", metavar="HOST", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", metavar="P", min=0, max=65535, help="The port; 0: any that is free.")]
Threads = Annotated[int | None, typer.Option("-t", "--threads", metavar="N", min=1, help="Threads (all usable CPUs).")]
Memory = Annotated[
    int | None, typer.Option("--memory", metavar="MB", min=1, help="Lend at most that much (what the devices have).")
]
Cache = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", help="Keep large tensors there, for the next load.")
]


def rpc_server(
    host: Host = "127.0.0.1",
    port: Port = 50052,
    threads: Threads = None,
    memory: Memory = None,
    cache: Cache = None,
) -> None:
    """Lend this machine's devices to llama.cpp elsewhere."""
    if not is_loopback(host):
        terminal.remark(
            f"Warning: whoever can reach {host} can use this machine's memory and run code in this process, since the "
            "protocol knows no passwords: let trusted machines alone reach it."
        )
    if cache:
        cache.mkdir(parents=True, exist_ok=True)
    devices = server.served_devices()
    limit = memory * MB if memory else sum(device.memory_free for device in devices)
    names = tuple(device.name for device in devices)
    listening = server.listen(host, port)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    address = "{}:{}".format(*listening.getsockname())
    lent = f"{', '.join(names)}, {terminal.size(limit)}"
    served = server.Served(names, threads or llamacffi.usable_cpus(), limit, cache)
    server.run(listening, served, lambda: print(f"listening on {address} ({lent})", flush=True))


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
