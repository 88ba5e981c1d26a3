"""The command `llamacffi rpc-server`: what it prints, whom it serves, and how it ends."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

import llamacffi
from llamacffi import llama_cpp as llama
from support import gguf_files, tiny_model
from support.objects import context_of, decode, load_on
from support.processes import run
from support.rpc_frames import HELLO, received

COMMAND = (sys.executable, "-m", "llamacffi", "rpc-server")
LISTENING = re.compile(r"listening on (127\.0\.0\.1|0\.0\.0\.0):(\d+) \(CPU, (.+)\)\n")
BESIDE_ZERO = ("--port", "0")


@contextlib.contextmanager
def started(*options: str) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Run the command; give its process, its port and the memory that it says."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([*COMMAND, *BESIDE_ZERO, *options], stdout=pipe, stderr=pipe, text=True)
    assert process.stdout
    try:
        line = LISTENING.fullmatch(process.stdout.readline())
        assert line
        yield process, int(line[2]), line[3]
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> str:
    """End it with SIGTERM, as a service manager does, and return what it has said."""
    process.terminate()
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 0, said
    return said


def test_it_ends_by_sigterm_while_a_client_is_connected_and_says_who_was_there() -> None:
    with started() as (process, port, _memory):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            client = f"127.0.0.1:{connection.getsockname()[1]}"
            connection.sendall(HELLO)
            assert len(received(connection, 36)) == 36
            children = psutil.Process(process.pid).children()
            assert children
            said = ended(process)
            assert connection.recv(1) == b""
        assert not any(child.is_running() for child in children)
    assert f"{client} has connected" in said
    assert "stopped" in said
    assert "Warning" not in said


def test_a_client_that_leaves_is_told() -> None:
    with started() as (process, port, _memory):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            client = f"127.0.0.1:{connection.getsockname()[1]}"
        assert process.stderr
        lines = [process.stderr.readline() for _ in range(2)]
        assert f"{client} has connected" in lines[0]
        assert f"{client} has left" in lines[1]


def test_no_client_outlives_a_server_that_is_killed() -> None:
    with started() as (process, port, _memory), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HELLO)
        assert len(received(connection, 36)) == 36
        process.send_signal(signal.SIGKILL)
        assert connection.recv(1) == b""


def test_it_lends_what_it_is_told_and_keeps_large_tensors(tmp_path: Path) -> None:
    """Above 10 MiB llama.cpp asks for a tensor by its hash, before it sends it."""
    shape = tiny_model.Shape(layers=1, width=1280)
    path = tiny_model.write(tmp_path / "wide.gguf", shape)
    cache = tmp_path / "cache"
    with started("--memory", "200", "--threads", "1", "--cache", str(cache)) as (_process, port, memory):
        assert memory == "190.73 MiB"
        (device,) = llamacffi.add_rpc_servers([f"127.0.0.1:{port}"])
        assert device.memory_free == device.memory_total == 200_000_000
        for _ in range(2):  # the second time they are there
            model = load_on([device], path)
            assert decode(context_of(model)) == 0
            llama.llama_model_free(model)
    large = [one for one in gguf_files_of(path) if one > 10 << 20]
    assert sorted(one.stat().st_size for one in cache.iterdir()) == sorted(large)


def gguf_files_of(path: Path) -> list[int]:
    import gguf

    return [int(one.n_bytes) for one in gguf.GGUFReader(path).tensors if one.name != "token_embd.weight"]


def test_beyond_loopback_it_warns_in_one_sentence() -> None:
    with started("--host", "0.0.0.0") as (process, _port, _memory):
        said = ended(process)
    assert re.match(r"Warning: whoever can reach 0\.0\.0\.0 can use this machine's memory [^.]*\.\n", said), said


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        done = run(*COMMAND, "--port", str(port))
    assert done.returncode == 1
    assert done.stderr == f"llamacffi: 127.0.0.1:{port} cannot be listened on: Address already in use\n"


def test_a_command_loads_its_model_on_the_servers() -> None:
    with started() as (process, port, _memory):
        options = ("-m", gguf_files.shared(), "-p", "the cat", "-n", "3", "--temp", "0")
        here = run(sys.executable, "-m", "llamacffi", "generate", *options)
        there = run(sys.executable, "-m", "llamacffi", "generate", *options, "--rpc", f"127.0.0.1:{port}")
        assert "has connected" in ended(process)
    assert there.stdout == here.stdout
    assert there.returncode == here.returncode == 0


def test_a_command_names_a_server_that_is_not_there() -> None:
    done = run(
        sys.executable, "-m", "llamacffi", "generate", "-m", gguf_files.shared(), "-p", "a", "--rpc", "127.0.0.1:1"
    )
    assert done.returncode == 1
    assert "the server 127.0.0.1:1 of remote backends cannot be reached: Connection refused" in done.stderr
    assert done.stderr.count("\n") == 1
