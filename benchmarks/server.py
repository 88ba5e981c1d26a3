"""Measure llama-cpp-python's server under streaming clients, on this engine and on the ctypes library.

    python benchmarks/server.py MODEL PEER [--clients 8] [--seconds 30]

MODEL is a GGUF file, PEER the installed `llama_cpp` folder of the pinned llama-cpp-python, built for this CPU. What the
server requires (extra `dropin`) must be installed. Both engines run under the same, unmodified Python package, that of
PEER, one after the other. Prints the tokens a second of all clients together, and how many answers failed, and why.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OURS, THEIRS = "llamacffi", "ctypes"
STARTS = {OURS: ["-m", "llamacffi", "run"], THEIRS: []}
TOKENS = 32  # of an answer
REQUEST = {"messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": TOKENS, "stream": True}


@contextmanager
def serving(engine: str, model: Path, folder: str) -> Iterator[int]:
    """Run a server while the body runs, and give its port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    options = {"--model": model, "--port": port, "--n_ctx": 512, "--interrupt_requests": False}  # each gets its answer
    given = [str(part) for option in options.items() for part in option]
    command = [sys.executable, *STARTS[engine], "-m", "llama_cpp.server", *given]
    server = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": folder}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(server, port)
        yield port
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server ended before it answered: are the packages of the extra `dropin` installed?")


class Client(threading.Thread):
    """Ask for one answer after the other until it is time."""

    def __init__(self, port: int, until: float) -> None:
        super().__init__()
        self.port, self.until = port, until
        self.tokens = self.answers = 0
        self.errors: list[str] = []

    def run(self) -> None:
        while time.monotonic() < self.until:
            try:
                self.ask()
                self.answers += 1
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.errors.append(f"{type(error).__name__}: {error}")

    def ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(REQUEST), headers)
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        for line in response:
            if line.startswith(b"data: {"):
                self.tokens += "content" in json.loads(line[6:])["choices"][0]["delta"]
            elif line.startswith(b"data: [DONE]"):
                return
        raise ValueError("the stream ended before its last line")


def measure(port: int, clients: int, seconds: float) -> tuple[float, int, list[str]]:
    """Return the tokens a second, the answers, and what went wrong."""
    started = time.monotonic()
    running = [Client(port, started + seconds) for _ in range(clients)]
    for client in running:
        client.start()
    for client in running:
        client.join()
    took = time.monotonic() - started
    errors = [error for client in running for error in client.errors]
    return sum(client.tokens for client in running) / took, sum(client.answers for client in running), errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("peer", type=Path, help="an installed llama_cpp folder")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    speeds = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "llama_cpp").symlink_to(given.peer.resolve(), target_is_directory=True)
        for engine in STARTS:
            with serving(engine, given.model, folder) as port:
                speeds[engine], answers, errors = measure(port, given.clients, given.seconds)
            print(f"{engine:10} {speeds[engine]:7.1f} tokens a second, {answers} answers, {len(errors)} errors")
            for error in sorted(set(errors)):
                print(f"           {error}")
    print(f"ratio      {speeds[OURS] / speeds[THEIRS]:7.2f}")


if __name__ == "__main__":
    main()
