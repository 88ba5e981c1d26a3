"""fork and spawn after a model was loaded: the child decodes, or gets a clear error; it never hangs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

# A child of fork reports by its exit status; SIGALRM ends one that hangs.
FORK = """
def in_fork(function):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        status = 1
        try:
            print(function(), flush=True)
            status = 0
        except llamacffi.LlamaError as error:
            print(type(error).__name__, error, flush=True)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]

model = load()
ctx = context_of(model)
"""


def test_a_forked_child_goes_on_with_model_and_context(output_of: Callable[..., str]) -> None:
    code = """
decode(ctx)
print(in_fork(lambda: (decode(ctx), decode(context_of(model)), L.llama_free(ctx), L.llama_model_free(model))))
print(decode(ctx))
"""
    assert output_of(FORK + code) == "(0, 0, None, None)\n0\n0\n"


def test_a_forked_child_decodes_with_several_threads(output_of: Callable[..., str]) -> None:
    code = """
two = context_of(model, n_threads=2, n_threads_batch=2)
decode(two)
print(in_fork(lambda: decode(two)))
"""
    assert output_of(FORK + code) == "0\n0\n"


def test_a_context_that_another_thread_was_in_is_free_in_the_child(output_of: Callable[..., str]) -> None:
    """That thread is none of the child's. What it was doing is left half done, so the child only frees."""
    code = """
entered, go_on = threading.Event(), threading.Event()

def wait(data):
    entered.set()
    go_on.wait(20)
    return False

L.llama_set_abort_callback(ctx, L.ggml_abort_callback(wait), None)
thread = threading.Thread(target=decode, args=(ctx,))
thread.start()
entered.wait(20)
print(in_fork(lambda: (L.llama_free(ctx), decode(context_of(model)))))
go_on.set()
thread.join(20)
"""
    assert output_of(FORK + code) == "(None, 0)\n0\n"


def test_a_context_with_a_thread_pool_goes_on_without_it_in_the_child(output_of: Callable[..., str]) -> None:
    """The pool's threads stayed in the parent; waiting for them would be for ever."""
    code = """
pool = pool_of(2)
L.llama_attach_threadpool(ctx, pool, None)
L.llama_set_n_threads(ctx, 2, 2)
decode(ctx)
print(in_fork(lambda: (decode(ctx), L.llama_detach_threadpool(ctx), L.llama_free(ctx))))
print(decode(ctx))
"""
    assert output_of(FORK + code) == "(0, None, None)\n0\n0\n"


def test_a_parent_s_thread_pool_is_no_use_to_the_child(output_of: Callable[..., str]) -> None:
    code = """
pool = pool_of(2)
print(in_fork(lambda: L.llama_attach_threadpool(ctx, pool, None)))
print(in_fork(lambda: L.ggml_threadpool_free(pool)))
"""
    attached, status, freed, last = output_of(FORK + code).splitlines()
    assert attached.startswith("LlamaValueError llama_attach_threadpool(): threadpool")
    assert freed == "None" or freed.startswith("LlamaValueError ggml_threadpool_free(): threadpool")
    assert (status, last) == ("0", "0")


def test_forks_among_threads_that_load_and_free_never_hang(output_of: Callable[..., str]) -> None:
    """A lock of ours that another thread holds at the fork must not stay locked in the child."""
    code = """
stop = threading.Event()

def load_and_free():
    while not stop.is_set():
        one = load()
        context = context_of(one)
        decode(context)
        L.llama_free(context)
        L.llama_model_free(one)

threads = [threading.Thread(target=load_and_free) for _ in range(3)]
[thread.start() for thread in threads]
statuses = {in_fork(lambda: decode(context_of(load()))) for _ in range(60)}
stop.set()
[thread.join() for thread in threads]
print("statuses", statuses)
"""
    assert output_of(FORK + code, timeout=120).splitlines() == ["0"] * 60 + ["statuses {0}"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works_after_a_model_was_loaded(method: str, output_of: Callable[..., str]) -> None:
    """The children's function is one of `world`, so that spawn can import it."""
    code = f"""
import multiprocessing
model = load()
ctx = context_of(model)
decode(ctx)
if __name__ == "__main__":
    methods = multiprocessing.get_context({method!r})
    with methods.Pool(2) as pool:
        print(pool.map_async(load_and_decode, [TINY] * 4).get(40))
print(decode(ctx))
"""
    assert output_of(code) == "[0, 0, 0, 0]\n0\n"
