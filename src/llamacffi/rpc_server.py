"""A server of remote backends: it lends this machine's devices to other machines, with a process for each client.

The protocol hands out memory and computes what it is told, unchecked: whatever a client sends, it ends its own process
at most, and what it had goes with that. This process only takes connections; run as a module, it is a client's process
(`serve`). The memory that each has taken stands in a page that all share.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

import llamacffi
from llamacffi import device, llama_cpp
from llamacffi._native import serve_one_client

log = logging.getLogger(__name__)

CLIENTS = 64  # at once
WORD = 8  # bytes of a number in the page
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG in sys/prctl.h


class Served(NamedTuple):
    """What a server lends."""

    devices: tuple[str, ...]
    threads: int
    memory: int
    """In bytes, for all clients together."""
    cache: Path | None


def served_devices() -> list[device.Device]:
    """Return what this machine has to lend: its GPUs, or where it has none its CPU."""
    known = device.devices()
    return [one for one in known if one.type in ("gpu", "igpu")] or [one for one in known if one.type == "cpu"]


def listen(host: str, port: int) -> socket.socket:
    """Listen for clients; the port 0 is any that is free."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise llamacffi.LlamaError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None
    return listening


class Stopped(BaseException):
    """SIGTERM came."""


def run(listening: socket.socket, served: Served, ready: Callable[[], object]) -> None:
    """Serve clients until SIGTERM or Ctrl-C, which end all of it well from when `ready` is called."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    clients = Clients(served)
    try:
        clients.prepare()
        ready()
        while True:
            clients.take(*listening.accept())
    except (Stopped, KeyboardInterrupt):
        log.info("stopped")
    finally:
        signal.signal(signal.SIGTERM, before)
        listening.close()
        clients.end()


class Process(NamedTuple):
    """A process that serves one client, once it is given its connection."""

    process: subprocess.Popen[bytes]
    channel: socket.socket


class Clients:
    """The processes of the clients, by their place in the shared page; and one that waits for the next.

    A client whose server computes for long asks over a new connection whether it is there: that is answered at once.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the server)
        self._file.truncate(CLIENTS * WORD)
        self._taken = mmap.mmap(self._file.fileno(), CLIENTS * WORD)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._next: Process | None = None

    def prepare(self) -> None:
        """Start the process that waits for the next client, unless one does."""
        if self._next is None or self._next.process.poll() is not None:
            self._next = self._start()

    def take(self, connection: socket.socket, address: tuple[str, int]) -> None:
        """Give a client to a process of its own, which has the connection from then on."""
        client = f"{address[0]}:{address[1]}"
        with connection, self._lock:
            own = next((place for place in range(CLIENTS) if place not in self._processes), None)
            if own is None:
                log.warning("%s is sent away: %d clients are served", client, CLIENTS)
                return
            log.info("%s has connected", client)
            self.prepare()
            assert self._next
            process, channel = self._next
            self._next = None
            self._processes[own] = process
            with channel:
                socket.send_fds(channel, [bytes([own])], [connection.fileno()])
            self.prepare()
        threading.Thread(target=self._wait, args=(own, process, client), daemon=True).start()

    def _start(self) -> Process:
        ours, theirs = socket.socketpair()
        page, served = self._file.fileno(), self._served
        numbers = (theirs.fileno(), page, served.memory, served.threads, os.getpid())
        command = [sys.executable, "-m", __name__, *map(str, numbers), str(served.cache or ""), *served.devices]
        nothing = subprocess.DEVNULL  # what upstream prints of itself is the parent's to say
        with theirs:
            process = subprocess.Popen(command, pass_fds=(theirs.fileno(), page), stdin=nothing, stdout=nothing)
        return Process(process, ours)

    def _wait(self, own: int, process: subprocess.Popen[bytes], client: str) -> None:
        status = process.wait()
        with self._lock:
            del self._processes[own]
            self._taken[own * WORD : (own + 1) * WORD] = bytes(WORD)
        if status == 0:
            log.info("%s has left", client)
        elif status != -signal.SIGTERM:
            log.warning("%s has ended its process with %s", client, how(status))

    def end(self) -> None:
        """End all processes."""
        with self._lock:
            processes = [*self._processes.values(), *([self._next.process] if self._next else [])]
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def how(status: int) -> str:
    """Say how a process ended."""
    return f"status {status}" if status > 0 else signal.Signals(-status).name


# ---------------------------------------------------------------- the process of a client


def serve(arguments: list[str]) -> None:
    """Serve the one client whose connection comes through the channel that this process was given."""
    channel, page, memory, threads, parent = map(int, arguments[:5])
    end_with(parent)
    own, connection = received(channel)
    cache, names = arguments[5] or None, arguments[6:]
    serve_one_client(connection, memory, mmap.mmap(page, CLIENTS * WORD), own)
    devices = (ctypes.c_void_p * len(names))(*map(device.address, names))
    with client_leaves():
        llama_cpp.ggml_backend_rpc_start_server("127.0.0.1:0", cache, threads, len(names), devices)
    os._exit(0)  # what the client left goes with the process


def received(channel: int) -> tuple[int, int]:
    """Wait for a client; return its place in the page, and its connection."""
    with socket.socket(fileno=channel) as parent:
        place, connections, _flags, _address = socket.recv_fds(parent, 1, 1)
    if not place:
        os._exit(0)  # the server is gone
    return place[0], connections[0]


def end_with(parent: int) -> None:
    """Let this process end when the server's does, where the system can."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a terminal sends to all; the server says when to end
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


@contextlib.contextmanager
def client_leaves() -> Iterator[None]:
    """Take the exception with which the C function ends when its one client has left."""
    try:
        yield
    except llamacffi.LlamaError as error:
        if "the one client has left" not in str(error):
            raise


if __name__ == "__main__":
    serve(sys.argv[1:])
