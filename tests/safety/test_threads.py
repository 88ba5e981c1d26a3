"""Threads: one context serves one at a time, and says so; contexts of one model run side by side.

What overlaps is told by events, not by the clock; how much faster two threads are is measured by benchmarks/checks.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

# `inside` decodes on another thread until it is let go: its abort callback waits for `go_on`.
INSIDE = """
entered, go_on = threading.Event(), threading.Event()

def wait(data):
    entered.set()
    go_on.wait(20)
    return False

def inside(context):
    L.llama_set_abort_callback(context, L.ggml_abort_callback(wait), None)
    results.append(decode(context))

def outcome(function, *given):
    try:
        return f"returned {function(*given)!r}"
    except Exception as error:
        return f"{type(error).__name__} {error}"

results = []
model = load()
ctx, other = context_of(model), context_of(model)
thread = threading.Thread(target=inside, args=(ctx,))
thread.start()
entered.wait(20)
"""
LEAVE = """
go_on.set()
thread.join(20)
print("decoded", results, "free", outcome(L.llama_free, ctx))
"""

REFUSED = {
    "a second decode": "decode(ctx)",
    "freeing the context": "L.llama_free(ctx)",
    "reading logits": "L.llama_get_logits_ith(ctx, -1)",
    "clearing its memory": "L.llama_memory_clear(memory, True)",
    "saving its state": "L.llama_state_get_data(ctx, bytearray(10_000), 10_000)",
    "changing its threads": "L.llama_set_n_threads(ctx, 1, 1)",
    "sampling from it": "L.llama_sampler_sample(L.llama_sampler_init_greedy(), ctx, -1)",
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_a_second_thread_in_a_context_gets_an_error_at_once(call: str, output_of: Callable[..., str]) -> None:
    memory = "memory = L.llama_get_memory(ctx)\n"
    code = INSIDE.replace("thread.start()", f"{memory}thread.start()") + f"print(outcome(lambda: {call}))" + LEAVE
    refused, left = output_of(code).splitlines()
    assert refused.startswith("LlamaError llama_")
    assert "is in use by another thread" in refused
    assert left == "decoded [0] free returned None"


def test_what_keeps_the_gil_may_be_asked_of_a_busy_context(output_of: Callable[..., str]) -> None:
    code = INSIDE + "print(outcome(L.llama_n_ctx, ctx))" + LEAVE
    assert output_of(code).splitlines() == ["returned 256", "decoded [0] free returned None"]


def test_another_context_of_the_model_decodes_meanwhile(output_of: Callable[..., str]) -> None:
    """The first thread is inside C, and stays there until the second one has decoded."""
    code = INSIDE + "print(outcome(decode, other), results)" + LEAVE
    assert output_of(code).splitlines() == ["returned 0 []", "decoded [0] free returned None"]


def test_a_model_freed_during_a_decode_lives_until_the_context_goes(output_of: Callable[..., str]) -> None:
    code = INSIDE + "print(outcome(L.llama_model_free, model), outcome(L.llama_model_n_embd, model)[:15])" + LEAVE
    assert output_of(code).splitlines() == ["returned None LlamaValueError", "decoded [0] free returned None"]


def test_a_chain_in_use_is_not_freed_by_another_thread(output_of: Callable[..., str]) -> None:
    code = """
entered, go_on = threading.Event(), threading.Event()

def apply(sampler, array):
    entered.set()
    go_on.wait(20)

chain = chain_of(user_sampler(apply=apply))
array = candidates()
thread = threading.Thread(target=L.llama_sampler_apply, args=(chain, byref(array)))
thread.start()
entered.wait(20)
try:
    L.llama_sampler_free(chain)
except llamacffi.LlamaError as error:
    print("in use" in str(error))
go_on.set()
thread.join(20)
print(L.llama_sampler_free(chain))
"""
    assert output_of(code) == "True\nNone\n"


def test_two_threads_are_inside_c_at_the_same_time(output_of: Callable[..., str]) -> None:
    """Each waits, inside of its decode, for the other to be inside of its own."""
    code = """
both = threading.Barrier(2, timeout=20)
once = threading.local()

def meet(data):
    if not getattr(once, "met", False):
        once.met = True
        both.wait()
    return False

def run(context):
    L.llama_set_abort_callback(context, L.ggml_abort_callback(meet), None)
    results.append(decode(context))

results = []
model = load()
threads = [threading.Thread(target=run, args=(context_of(model),)) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join(30) for thread in threads]
print(results, both.broken)
"""
    assert output_of(code) == "[0, 0] False\n"


def test_the_gil_is_free_while_c_decodes(output_of: Callable[..., str]) -> None:
    """A counter in Python goes on during one long call without callbacks."""
    code = """
model = load()
ctx = context_of(model, n_ctx=4096, n_batch=4096, n_ubatch=4096)
counted, running = [0], threading.Event()

def count():
    running.set()
    while running.is_set():
        counted[0] += 1
        time.sleep(0)  # nothing else makes it give the GIL up

thread = threading.Thread(target=count)
thread.start()
running.wait(20)
before = counted[0]
sys.setswitchinterval(1000)
result = decode(ctx, (5,) * 4000)
after = counted[0]
running.clear()
thread.join(20)
print(result, after > before)
"""
    assert output_of(code) == "0 True\n"


def test_many_threads_in_one_context_only_ever_get_errors(output_of: Callable[..., str]) -> None:
    code = """
model = load()
ctx = context_of(model)
kinds = set()

def work():
    for _ in range(100):
        try:
            L.llama_memory_clear(L.llama_get_memory(ctx), True)
            kinds.add(decode(ctx, (1, 5)))
        except llamacffi.LlamaError as error:
            kinds.add("in use" in str(error))

threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(kinds <= {0, -1, True}, decode(ctx, (1, 5)) in (0, -1))
"""
    assert output_of(code) == "True True\n"


def test_threads_that_load_and_free_do_not_disturb_each_other(output_of: Callable[..., str]) -> None:
    code = """
results = []

def work():
    for _ in range(20):
        model = load()
        ctx = context_of(model)
        results.append(decode(ctx))
        L.llama_model_free(model)
        L.llama_free(ctx)

threads = [threading.Thread(target=work) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(results), set(results))
"""
    assert output_of(code) == "60 {0}\n"
