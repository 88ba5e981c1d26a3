"""Servers of remote backends, as processes of their own on the loopback."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

SERVER = """
import ctypes, sys
from llamacffi import llama_cpp as llama
cpu = llama.ggml_backend_dev_by_type(llama.GGML_BACKEND_DEVICE_TYPE_CPU)
llama.ggml_backend_rpc_start_server(sys.argv[1], sys.argv[2], 1, 1, (ctypes.c_void_p * 1)(cpu))
"""
# What the command `rpc-server` does, without its options.
WORKER = """
import logging, sys
from llamacffi import rpc_server
port, memory = map(int, sys.argv[1:])
logging.basicConfig(level=logging.INFO)
listening = rpc_server.listen("127.0.0.1", port)
served = rpc_server.Served(("CPU",), 1, memory, None)
rpc_server.run(listening, served, lambda: print(listening.getsockname()[1], flush=True))
"""
MEMORY = 1 << 30


class Worker:
    """A process that serves clients as `llamacffi rpc-server` does, with those that it starts."""

    def __init__(self, port: int = 0, memory: int = MEMORY) -> None:
        command = [sys.executable, "-c", WORKER, str(port), str(memory)]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (a pipe would be full at some time)
        # In a session of its own: a signal to its group reaches its clients' processes too.
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, text=True, start_new_session=True
        )

    @functools.cached_property
    def port(self) -> int:
        """Wait until it listens."""
        assert self.process.stdout
        return int(self.process.stdout.readline())

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    def end(self) -> str:
        """End it as a user does, and return what it has logged."""
        self.process.terminate()
        self.process.wait()
        self._log.seek(0)
        return self._log.read()

    def kill(self) -> None:
        """Kill all of it, and wait until each process is gone, and its sockets with it."""
        started = processes_of(self.process.pid)
        self.signal(signal.SIGKILL)
        self.process.wait()
        while any(map(is_alive, started)):
            time.sleep(0.001)


def processes_of(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def worker(port: int = 0, memory: int = MEMORY) -> Iterator[Worker]:
    """Have a worker, which may be killed meanwhile."""
    started = Worker(port, memory)
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        assert started.process.stdout
        started.process.stdout.close()


@contextlib.contextmanager
def rpc_server(folder: Path) -> Iterator[str]:
    """Have llama.cpp's own server, whose device is its CPU; give its endpoint. It keeps tensors in the folder."""
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
