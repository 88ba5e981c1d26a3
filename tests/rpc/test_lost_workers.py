"""A worker that goes away, or does not answer, is an exception that names it; the rest goes on, and it can return."""

from __future__ import annotations

import contextlib
import ctypes
import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

import llamacffi
from llamacffi import LlamaError, LlamaValueError, last_error
from llamacffi import llama_cpp as llama
from support import gguf_files
from support.cells import alone, raises, returns
from support.objects import context_of, decode, load, load_on, logits_of
from support.rpc_servers import Worker, free_port, worker

TOKENS = (5, 9, 14)


def logits_after(ctx: Any) -> list[float]:
    decode(ctx, TOKENS)
    return [float(one) for one in logits_of(ctx)]


def lost(act: Callable[[], object], endpoint: str) -> bool:
    """Tell whether an act raises, and names this server."""
    try:
        act()
    except LlamaError as error:
        return f"the server {endpoint} of remote backends was lost" in str(error)
    return False


def killing(one: Worker) -> Any:
    """Return a callback for a decode, which kills the worker when it has computed something."""

    def watch(tensor: Any, ask: bool, data: object) -> bool:
        if not ask and one.process.poll() is None:
            one.kill()
        return True

    return llama.ggml_backend_sched_eval_callback(watch)


@alone
@returns((True, True, True))
def test_a_worker_that_is_killed_during_a_decode_is_an_exception_and_works_when_it_is_back() -> object:
    with worker() as one:
        port, endpoint = one.port, one.endpoint
        model = load_on(llamacffi.add_rpc_servers([endpoint]))
        ctx = context_of(model, cb_eval=killing(one))
        is_lost = lost(lambda: logits_after(ctx), endpoint)
        local = logits_after(context_of(load()))
    with worker(port) as one:  # what was on it is lost, while a new load finds it
        again = logits_after(context_of(load_on(llamacffi.add_rpc_servers([one.endpoint]))))
    return is_lost, again == local, lost(lambda: logits_after(ctx), endpoint)


@alone
@returns((None, True, True))
def test_a_worker_that_is_killed_during_a_load_gives_no_model() -> object:
    with worker() as one:

        def kill(progress: float, data: object) -> bool:
            one.kill()
            return True

        params = llama.llama_model_default_params()
        params.progress_callback = llama.llama_progress_callback(kill)
        llamacffi.offload(params, llamacffi.add_rpc_servers([one.endpoint]))
        model = llama.llama_model_load_from_file(str(gguf_files.shared()), params)
        names_it = f"the server {one.endpoint} of remote backends" in last_error()
    return model, names_it, len(logits_after(context_of(load()))) > 0


@alone
@returns((True, True, True))
def test_a_worker_that_is_stopped_is_lost_in_time_and_the_other_one_goes_on() -> object:
    """The system still takes what is sent to it, and answers for its sockets."""
    with worker() as one, worker() as other:
        devices = llamacffi.add_rpc_servers([one.endpoint, other.endpoint], timeout=2)
        ctx = context_of(load_on(devices[:1]))
        logits_after(ctx)
        one.signal(signal.SIGSTOP)
        started = time.monotonic()
        is_lost = lost(lambda: logits_after(ctx), one.endpoint)
        in_time = time.monotonic() - started < 2 + 1
        return is_lost, in_time, len(logits_after(context_of(load_on(devices[1:])))) > 0


@alone
@returns(True)
def test_a_worker_that_computes_for_longer_is_asked_and_not_lost() -> bool:
    with worker() as one:
        ctx = context_of(load_on(llamacffi.add_rpc_servers([one.endpoint], timeout=4)))
        logits_after(ctx)
        busy = computing(one)
        busy.suspend()
        threading.Timer(5, busy.resume).start()
        started = time.monotonic()
        return len(logits_after(ctx)) > 0 and time.monotonic() - started > 4


def computing(one: Worker) -> psutil.Process:
    """Return the process of the client of a worker that has one: the others wait for a client."""
    children = psutil.Process(one.process.pid).children()
    return max(children, key=lambda child: len(child.net_connections("tcp")))


@raises(
    LlamaError,
    r"ggml_backend_rpc_add_server\(\): the server 127\.0\.0\.1:\d+ of remote backends cannot be reached: Con",
)
def test_where_nobody_listens_no_server_is_added() -> None:
    llamacffi.add_rpc_servers([f"127.0.0.1:{free_port()}"])


@raises(
    LlamaError, r"ggml_backend_rpc_add_server\(\): the server no\.such\.host\.invalid:5 of remote backends cannot be"
)
def test_a_host_that_nobody_knows_is_no_server() -> None:
    llamacffi.add_rpc_servers(["no.such.host.invalid:5"])


@pytest.mark.parametrize("address", ["", "host", "host:", "host:0", "host:65536", "host:port", "a b:1", "::1:5"])
@raises(LlamaValueError, lambda address: re.escape(f"{address!r} is no address of a server: give host:port"))
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    llamacffi.add_rpc_servers([address])


@returns(0)
def test_attempts_to_connect_leave_no_socket_open() -> int:
    address = f"127.0.0.1:{free_port()}"
    before = open_files()
    for _ in range(5):
        with contextlib.suppress(LlamaError):
            llamacffi.add_rpc_servers([address])
    return open_files() - before


def open_files() -> int:
    return psutil.Process().num_fds()


@alone
@returns(["(lost)", 0])
def test_a_lost_worker_is_listed_as_lost() -> object:
    with worker() as one:
        llamacffi.add_rpc_servers([one.endpoint])
        one.kill()
        last = llamacffi.devices()[-1]
        return [last.description.split()[-1], last.memory_total]


@alone
@returns(True)
def test_an_upstream_server_that_runs_in_this_process_says_why_it_cannot_listen() -> bool:
    with worker() as one:
        cpu = llama.ggml_backend_dev_by_name(b"CPU")
        try:
            llama.ggml_backend_rpc_start_server(one.endpoint, None, 1, 1, (ctypes.c_void_p * 1)(cpu))
        except LlamaError as error:
            return "the endpoint cannot be listened on: Address already in use" in str(error)
    return False
