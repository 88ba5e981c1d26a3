"""A server of remote backends that says nothing is an exception, and local models go on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamacffi import LlamaAssertionError, LlamaError, LlamaValueError, last_error
from llamacffi import llama_cpp as llama
from support.cells import alone, refused, returns
from support.objects import context_of, decode, load, logits_of
from support.rpc_servers import rpc_process

LIMIT = "0.3"


def server(behave: Callable[[socket.socket], object]) -> bytes:
    """Listen on a port of loopback; let a thread behave with what listens; return the endpoint."""
    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=behave, args=(listening,), daemon=True).start()
    return b"127.0.0.1:%d" % listening.getsockname()[1]


held: list[socket.socket] = []  # what is collected is closed, which would be an answer


def take_no_connection(listening: socket.socket) -> None:
    """As a process that was stopped by a signal: the system takes the connection for it."""
    held.append(listening)


def take_and_say_nothing(listening: socket.socket) -> None:
    held.extend((listening, listening.accept()[0]))


def say_half(listening: socket.socket) -> None:
    connection = listening.accept()[0]
    held.extend((listening, connection))
    connection.sendall(b"\x03\x00\x00\x00")


SILENT = {function.__name__: function for function in (take_no_connection, take_and_say_nothing, say_half)}
SAID = r"\(\): the server 127\.0\.0\.1:\d+ of remote backends was lost, did not answer in time"


@pytest.mark.parametrize("name", SILENT)
@refused(LlamaError, lambda name: r"ggml_backend_rpc_add_server" + SAID)
def test_a_silent_server_is_not_added(name: str) -> None:
    os.environ["LLAMACFFI_RPC_TIMEOUT"] = LIMIT
    llama.ggml_backend_rpc_add_server(server(SILENT[name]))


@refused(LlamaError, r"ggml_backend_rpc_init" + SAID)
def test_a_silent_server_makes_no_backend() -> None:
    os.environ["LLAMACFFI_RPC_TIMEOUT"] = LIMIT
    llama.ggml_backend_rpc_init(server(take_and_say_nothing), 0)


@returns(2)
def test_a_silent_server_is_asked_again() -> int:
    os.environ["LLAMACFFI_RPC_TIMEOUT"] = LIMIT
    endpoint, failed = server(take_no_connection), 0
    for _ in range(2):
        try:
            llama.ggml_backend_rpc_add_server(endpoint)
        except LlamaError:
            failed += 1
    return failed


@pytest.mark.parametrize("limit", ["0", "-1", "soon", "nan", "1e9"])
@refused(LlamaValueError, lambda limit: r"ggml_backend_rpc_add_server\(\): LLAMACFFI_RPC_TIMEOUT should be seconds")
def test_a_limit_is_a_number_of_seconds(limit: str) -> None:
    os.environ["LLAMACFFI_RPC_TIMEOUT"] = limit
    llama.ggml_backend_rpc_add_server(server(take_no_connection))


@returns(["outer", "inner"])
def test_a_callback_may_ask_for_a_server_while_another_is_asked() -> list[str]:
    """llama.cpp tells that an address is none while it holds the mutex of its servers."""
    told: list[str] = []

    def tell(message: bytes) -> None:
        told.append("inner" if told else "outer")
        if told == ["outer"]:
            llama.ggml_backend_rpc_get_device_memory(b"no address", 0, ctypes.c_size_t(), ctypes.c_size_t())

    callback = llama.ggml_abort_callback_t(tell)
    llama.ggml_set_abort_callback(callback)
    with contextlib.suppress(LlamaAssertionError):
        llama.ggml_backend_rpc_init(b"nor this", 0)
    return told


# ---------------------------------------------------------------- servers that are lost later

LOST = SAID.removeprefix(r"\(\): ")
TOKENS = (5, 9, 14)
LOSSES = [signal.SIGKILL, signal.SIGSTOP]


def remote_model(endpoint: str, **fields: Any) -> Any:
    """Put all layers of a model on the server."""
    os.environ["LLAMACFFI_RPC_TIMEOUT"] = "2"
    reg = llama.ggml_backend_rpc_add_server(endpoint)
    devices = (ctypes.c_void_p * 2)(llama.ggml_backend_reg_dev_get(reg, 0), None)
    return load(devices=devices, n_gpu_layers=99, **fields)


def logits_after(ctx: Any) -> list[float]:
    decode(ctx, TOKENS)
    return [float(one) for one in logits_of(ctx)]


@alone
@returns(True)
def test_a_server_computes_what_this_process_does(folder: Path) -> bool:
    with rpc_process(folder) as (endpoint, _):
        return logits_after(context_of(remote_model(endpoint))) == logits_after(context_of(load()))


def lose(server: subprocess.Popen[bytes], how: signal.Signals) -> None:
    server.send_signal(how)
    if how == signal.SIGKILL:
        server.wait()


@alone
@pytest.mark.parametrize("how", LOSSES)
@returns((2, True))
def test_a_lost_server_is_an_exception_of_each_call(how: signal.Signals, folder: Path) -> object:
    """What it had can be freed then, and a local model computes."""
    named = 0
    with rpc_process(folder) as (endpoint, server):
        model = remote_model(endpoint)
        ctx = context_of(model)
        logits_after(ctx)
        lose(server, how)
        for _ in range(2):
            try:
                logits_after(ctx)
            except LlamaError as error:
                named += bool(re.search(LOST, str(error)))
        llama.llama_free(ctx)
        llama.llama_model_free(model)
    return named, len(logits_after(context_of(load()))) > 0


@alone
@returns((None, True))
def test_a_load_from_a_server_that_dies_gives_none(folder: Path) -> object:
    with rpc_process(folder) as (endpoint, server):

        def kill_it(progress: float, data: object) -> bool:
            lose(server, signal.SIGKILL)
            return True

        model = remote_model(endpoint, progress_callback=llama.llama_progress_callback(kill_it))
        return model, bool(re.search(LOST, last_error()))


@alone
@returns((None, True))
def test_a_server_that_was_stopped_gives_no_context(folder: Path) -> object:
    """The system takes what is sent to it for a while, so that the load may not notice."""
    with rpc_process(folder) as (endpoint, server):
        model = remote_model(endpoint)
        lose(server, signal.SIGSTOP)
        return context_of(model), bool(re.search(LOST, last_error()))
