"""Who may be inside of an object at the same time: one that changes it is alone, on every kind that has a state.

The first call is held inside by a callback, and told so by an event; the second is what is tested.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from ctypes import byref
from typing import Any

import pytest

from llamacffi import LlamaError
from llamacffi import llama_cpp as llama
from support import gguf_files
from support.cells import raises, refused, returns
from support.objects import abort_with, busy, candidates, chain_of, context_of, decode, pool_of, user_sampler

OTHER_THREAD = ".+ is in use by another thread"
THIS_CALL = ".+ is in use by the call that runs this callback"


@contextlib.contextmanager
def held(enter: Callable[[Callable[..., Any]], object]) -> Iterator[None]:
    """Have another thread inside of `enter`, which gets a callback that waits, until the block ends."""
    entered, go_on = threading.Event(), threading.Event()

    def wait(*given: object) -> bool:
        entered.set()
        go_on.wait(20)
        return True

    thread = threading.Thread(target=enter, args=[wait])
    thread.start()
    assert entered.wait(20)
    try:
        yield
    finally:
        go_on.set()
        thread.join(20)


def apply(sampler: Any) -> object:
    return llama.llama_sampler_apply(sampler, byref(candidates()))


def held_in(chain: Any, waiting: list[Callable[..., Any]]) -> contextlib.AbstractContextManager[None]:
    """Have another thread apply the chain, whose sampler calls what stands in the list."""

    def enter(wait: Callable[..., Any]) -> None:
        waiting.append(wait)
        apply(chain)

    return held(enter)


# ---------------------------------------------------------------- another thread

IN_A_CHAIN: dict[str, Callable[[Any, Any], object]] = {
    "apply": lambda chain, sampler: apply(chain),
    "accept": lambda chain, sampler: llama.llama_sampler_accept(chain, 5),
    "reset": lambda chain, sampler: llama.llama_sampler_reset(chain),
    "clone": lambda chain, sampler: llama.llama_sampler_clone(chain),
    "chain_n": lambda chain, sampler: llama.llama_sampler_chain_n(chain),
    "chain_get": lambda chain, sampler: llama.llama_sampler_chain_get(chain, 0),
    "chain_add": lambda chain, sampler: llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_greedy()),
    "chain_remove": lambda chain, sampler: llama.llama_sampler_chain_remove(chain, 0),
    "apply of a member": lambda chain, sampler: apply(sampler),
    "reset of a member": lambda chain, sampler: llama.llama_sampler_reset(sampler),
}


@pytest.mark.parametrize("call", IN_A_CHAIN)
@raises(LlamaError, rf"llama_sampler_\w+\(\): (smpl|chain) {OTHER_THREAD}")
def test_a_second_thread_does_not_enter_a_chain(call: str) -> None:
    waiting: list[Callable[..., Any]] = []
    sampler = user_sampler(apply=lambda itself, array: waiting[0]())
    chain = chain_of(sampler)
    with held_in(chain, waiting):
        IN_A_CHAIN[call](chain, sampler)


@returns(b"(without a name)")
def test_what_never_changes_may_be_looked_at_meanwhile() -> object:
    waiting: list[Callable[..., Any]] = []
    chain = chain_of(sampler := user_sampler(apply=lambda itself, array: waiting[0]()))
    with held_in(chain, waiting):
        return llama.llama_sampler_name(sampler)


IN_A_GGUF: dict[str, Callable[[Any], object]] = {
    "a setter": lambda gguf: llama.gguf_set_val_u32(gguf, b"key", 1),
    "removing a key": lambda gguf: llama.gguf_remove_key(gguf, b"general.architecture"),
    "a getter": lambda gguf: llama.gguf_get_n_kv(gguf),
    "writing": lambda gguf: llama.gguf_write_to_file(gguf, b"never", True),
}


@pytest.mark.parametrize("call", IN_A_GGUF)
@raises(LlamaError, rf"gguf_\w+\(\): ctx {OTHER_THREAD}")
def test_a_second_thread_does_not_enter_a_gguf_context_that_a_model_is_made_of(call: str) -> None:
    gguf = gguf_context()
    with held(lambda wait: model_of(gguf, wait)):
        IN_A_GGUF[call](gguf)


def gguf_context() -> Any:
    return llama.gguf_init_from_file(str(gguf_files.shared()).encode(), llama.gguf_init_params(True, None))


def model_of(gguf: Any, set_data: Callable[..., Any]) -> Any:
    params = llama.llama_model_default_params()
    return llama.llama_model_init_from_user(gguf, llama.llama_model_set_tensor_data_t(set_data), None, params)


@refused(LlamaError, rf"llama_batch_ext_add_token\(\): batch {OTHER_THREAD}")
def test_a_second_thread_does_not_change_a_batch_that_is_computed(ctx: Any) -> None:
    batch = llama.llama_batch_ext_init(ctx)
    llama.llama_batch_ext_add_token(batch, 0, 5)

    def process(wait: Callable[..., Any]) -> None:
        abort_with(ctx, wait)
        llama.llama_process(ctx, llama.LLAMA_PROCESS_TYPE_DECODE, batch)

    with held(process):
        llama.llama_batch_ext_add_token(batch, 0, 6)


@refused(LlamaError, r"llama_batch_ext_add_token\(\): batch .+ uses a llama_context that is in use by another thread")
def test_a_batch_that_asks_its_context_for_positions_waits_for_no_decode(ctx: Any) -> None:
    batch = llama.llama_batch_ext_init(ctx)
    with busy(ctx):
        llama.llama_batch_ext_add_token(batch, 0, 6)


@refused(LlamaError, rf"ggml_threadpool_pause\(\): threadpool {OTHER_THREAD}")
def test_a_second_thread_does_not_pause_a_pool_that_computes(ctx: Any) -> None:
    pool = pool_of(2)
    llama.llama_attach_threadpool(ctx, pool, None)
    with busy(ctx):
        llama.ggml_threadpool_pause(pool)


@refused(LlamaError, r"llama_decode\(\): ctx .+ uses a llama_sampler that is in use by another thread")
def test_a_context_does_not_compute_while_a_sampler_that_it_has_is_in_use(ctx: Any) -> None:
    waiting: list[Callable[..., Any]] = []
    chain = chain_of(user_sampler(apply=lambda itself, array: waiting[0]()))
    llama.llama_set_sampler(ctx, 0, chain)
    with held_in(chain, waiting):
        decode(ctx)


@returns((0, 1))
def test_the_abort_callback_is_replaced_during_a_decode(ctx: Any) -> object:
    """The decode that is inside of the old one goes on, and asks the new one afterwards, which stops it."""
    seen: list[int] = []

    def stop(data: object) -> bool:
        seen.append(1)
        return True

    with busy(ctx) as decoded:
        abort_with(ctx, stop)
    return decoded[0] - 2, len(seen)


# ---------------------------------------------------------------- the same thread, from a callback

IN_APPLY: dict[str, Callable[[Any, Any], object]] = {
    "adds to its chain": lambda chain, sampler: llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_greedy()),
    "removes from its chain": lambda chain, sampler: llama.llama_sampler_chain_remove(chain, 0),
    "applies its chain": lambda chain, sampler: apply(chain),
    "resets its chain": lambda chain, sampler: llama.llama_sampler_reset(chain),
    "applies itself": lambda chain, sampler: apply(sampler),
}


@pytest.mark.parametrize("call", IN_APPLY)
@raises(LlamaError, rf"llama_sampler_\w+\(\): (smpl|chain) {THIS_CALL}")
def test_a_sampler_does_not_change_the_chain_that_runs_it(call: str) -> None:
    made: list[Any] = []
    sampler = user_sampler(apply=lambda itself, array: IN_APPLY[call](made[0], made[1]))
    made += [chain_of(sampler, llama.llama_sampler_init_greedy()), sampler]
    apply(made[0])


@returns(None)
def test_a_sampler_may_run_another_chain() -> object:
    other = chain_of(llama.llama_sampler_init_greedy())
    return apply(chain_of(user_sampler(apply=lambda itself, array: apply(other))))


@returns(True)
def test_a_sampler_may_read_the_logits_that_it_samples_from(ctx: Any) -> object:
    decode(ctx)
    seen: list[bool] = []
    read = user_sampler(apply=lambda itself, array: seen.append(bool(llama.llama_get_logits_ith(ctx, -1))))
    llama.llama_sampler_sample(chain_of(read, llama.llama_sampler_init_greedy()), ctx, -1)
    return seen[0]


@pytest.mark.parametrize("function", ["ggml_threadpool_pause", "ggml_threadpool_resume"])
@raises(LlamaError, rf"ggml_threadpool_\w+\(\): threadpool {THIS_CALL}")
def test_a_pool_is_not_paused_by_an_abort_callback_of_its_decode(function: str, ctx: Any) -> None:
    pool = pool_of(2)
    llama.llama_attach_threadpool(ctx, pool, None)
    abort_with(ctx, lambda data: getattr(llama, function)(pool))
    decode(ctx)


@raises(LlamaError, rf"gguf_remove_key\(\): ctx {THIS_CALL}")
def test_a_gguf_context_is_not_changed_by_a_callback_of_its_model() -> None:
    gguf = gguf_context()
    model_of(gguf, lambda tensor, data: llama.gguf_remove_key(gguf, b"general.architecture"))


@raises(
    LlamaError, r"llama_decode\(\): ctx .+ uses a ggml_threadpool that is in use by the call that runs this callback"
)
def test_a_pool_does_not_compute_for_a_second_context_inside_of_the_first(model: Any, ctx: Any) -> None:
    pool, other = pool_of(2), context_of(model)
    for one in (ctx, other):
        llama.llama_attach_threadpool(one, pool, None)
    abort_with(ctx, lambda data: decode(other))
    decode(ctx)
