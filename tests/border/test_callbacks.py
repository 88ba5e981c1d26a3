"""Python functions that C calls: their exceptions, how long they live, and Ctrl-C.

Each exception must come out of the call that ran the callback, as it was raised: with the traceback down to the
function that raised it. The way it goes is told in `llamacffi.ctypes_types`.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llamacffi
from llamacffi import LlamaError, ffi, llama_cpp
from support import tiny_model
from support.cells import alone, returns
from support.objects import abort_with, chain_of, context_of, decode, ints, load, logits_of, user_sampler


class Raised(Exception):
    """What the callbacks of these tests raise."""


def innermost(error: BaseException) -> str:
    """Name the function that raised."""
    return traceback.extract_tb(error.__traceback__)[-1].name


@pytest.fixture
def restored_log() -> Iterator[None]:
    yield
    llama_cpp.llama_log_set(None, None)


# ---------------------------------------------------------------- exceptions


def raise_it(*given: Any) -> Any:
    raise Raised("from the callback")


def test_an_exception_in_a_log_callback_comes_out_of_the_call_that_logged(tiny: Any, restored_log: None) -> None:
    llama_cpp.llama_log_set(llama_cpp.llama_log_callback(raise_it), None)
    with pytest.raises(Raised) as raised:
        context_of(tiny)
    assert innermost(raised.value) == "raise_it"


def test_an_exception_in_a_progress_callback_ends_the_load(tiny_path: Path) -> None:
    with pytest.raises(Raised) as raised:
        load(tiny_path, progress_callback=llama_cpp.llama_progress_callback(raise_it))
    assert innermost(raised.value) == "raise_it"


def test_a_progress_callback_is_not_called_again_after_it_raised(tiny_path: Path) -> None:
    seen: list[float] = []

    @llama_cpp.llama_progress_callback
    def progress(fraction: float, user_data: object) -> bool:
        seen.append(fraction)
        raise Raised

    with pytest.raises(Raised):
        load(tiny_path, progress_callback=progress)
    assert len(seen) == 1


def test_an_exception_in_an_abort_callback_ends_the_decode(context: Any) -> None:
    abort_with(context, raise_it)
    with pytest.raises(Raised) as raised:
        decode(context)
    assert innermost(raised.value) == "raise_it"
    llama_cpp.llama_set_abort_callback(context, llama_cpp.ggml_abort_callback(), None)
    assert decode(context) == 0


def test_an_abort_callback_that_returns_true_ends_the_decode_without_an_exception(context: Any) -> None:
    abort_with(context, lambda user_data: True)
    assert decode(context) == 2  # "aborted" in llama.h


def test_the_abort_callback_of_the_parameters_is_called(tiny: Any) -> None:
    context = context_of(tiny, abort_callback=llama_cpp.ggml_abort_callback(raise_it))
    with pytest.raises(Raised):
        decode(context)
    llama_cpp.llama_free(context)


def test_an_exception_in_an_eval_callback_comes_out_of_the_decode(tiny: Any) -> None:
    context = context_of(tiny, cb_eval=llama_cpp.ggml_backend_sched_eval_callback(raise_it))
    with pytest.raises(Raised) as raised:
        decode(context)
    assert innermost(raised.value) == "raise_it"
    llama_cpp.llama_free(context)


def test_an_eval_callback_is_not_called_again_after_it_raised(tiny: Any) -> None:
    calls: list[bool] = []

    @llama_cpp.ggml_backend_sched_eval_callback
    def observe(tensor: Any, ask: bool, user_data: object) -> bool:
        calls.append(ask)
        if not ask:
            raise Raised
        return True

    context = context_of(tiny, cb_eval=observe)
    with pytest.raises(Raised):
        decode(context)
    assert calls == [True, False]
    llama_cpp.llama_free(context)


SAMPLER_CALLS: dict[str, Callable[[Any], object]] = {
    "name": llama_cpp.llama_sampler_name,
    "accept": lambda sampler: llama_cpp.llama_sampler_accept(sampler, 5),
    "apply": lambda sampler: llama_cpp.llama_sampler_apply(sampler, llama_cpp.llama_token_data_array()),
    "reset": llama_cpp.llama_sampler_reset,
    "clone": llama_cpp.llama_sampler_clone,
    "free": llama_cpp.llama_sampler_free,
}


@pytest.mark.parametrize("name", SAMPLER_CALLS)
def test_an_exception_in_a_sampler_comes_out_of_the_call(name: str) -> None:
    sampler = user_sampler(**{name: raise_it})
    with pytest.raises(Raised) as raised:
        SAMPLER_CALLS[name](sampler)
    assert innermost(raised.value) == "raise_it"
    if name != "free":
        llama_cpp.llama_sampler_free(sampler)


def test_an_exception_in_a_sampler_comes_out_of_llama_sampler_sample(context: Any) -> None:
    """A sampler that chose no token fails an assertion as well; the reason is what must be told."""
    assert decode(context) == 0
    sampler = user_sampler(apply=raise_it)
    with pytest.raises(Raised) as raised:
        llama_cpp.llama_sampler_sample(sampler, context, -1)
    assert innermost(raised.value) == "raise_it"
    llama_cpp.llama_sampler_free(sampler)
    assert decode(context) == 0


def test_the_first_of_two_exceptions_wins(tiny: Any, restored_log: None) -> None:
    numbers = iter(range(10_000))

    def count(*given: Any) -> None:
        raise Raised(next(numbers))

    llama_cpp.llama_log_set(llama_cpp.llama_log_callback(count), None)
    with pytest.raises(Raised, match=r"^0$"):
        context_of(tiny)
    assert next(numbers) > 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exceptions_that_are_no_errors_come_out_too(kind: type[BaseException], context: Any) -> None:
    def leave(user_data: object) -> bool:
        raise kind

    abort_with(context, leave)
    with pytest.raises(kind):
        decode(context)


def test_an_exception_outside_of_any_call_goes_to_the_unraisable_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(unraisable.exc_type))
    llama_cpp.ggml_abort_callback(raise_it)(None)
    assert seen == [Raised]


def test_a_callback_may_call_functions_itself(context: Any, vocab: Any) -> None:
    """Also such as fail: the failure of the inner call is no failure of the outer one."""
    caught: list[str] = []

    def inner(user_data: object) -> bool:
        try:
            llama_cpp.llama_vocab_get_text(vocab, 10**6)
        except LlamaError as error:
            caught.append(str(error))
        return False

    abort_with(context, inner)
    assert decode(context) == 0
    assert caught
    assert all(text.startswith("llama_vocab_get_text(): ") for text in caught)


def test_a_library_s_function_without_declared_types_is_no_callback() -> None:
    with pytest.raises(TypeError, match=r"log_callback .+ made with llama_cpp\.ggml_log_callback, not _FuncPtr"):
        llama_cpp.llama_log_set(ctypes.CDLL(None).abs, None)


def test_a_cffi_callback_is_called(context: Any) -> None:
    calls = []

    @ffi.callback("bool(void *)")
    def stop(user_data: Any) -> bool:
        calls.append(user_data)
        return True

    llama_cpp.llama_set_abort_callback(context, stop, ffi.cast("void *", 77))
    assert decode(context) == 2
    assert [int(ffi.cast("intptr_t", data)) for data in calls] == [77]


def test_a_sampler_of_python_functions_chooses_the_token(context: Any) -> None:
    def choose(sampler: object, candidates: Any) -> None:
        array = candidates.contents
        array.selected = next(i for i in range(array.size) if array.data[i].id == 42)

    assert decode(context) == 0
    sampler = user_sampler(apply=choose)
    assert llama_cpp.llama_sampler_sample(sampler, context, -1) == 42
    llama_cpp.llama_sampler_free(sampler)


# ---------------------------------------------------------------- lifetimes


class Life:
    """A function to make a callback of, and a way to tell whether it lives."""

    def __init__(self, answer: object = None) -> None:
        self.calls: list[tuple[object, ...]] = []
        calls = self.calls

        def function(*given: object) -> object:
            calls.append(given)
            return answer

        self._function: Any = function
        self._reference = weakref.ref(function)

    def handed_over(self) -> Any:
        function, self._function = self._function, None
        return function

    @property
    def lasts(self) -> bool:
        gc.collect()
        return self._reference() is not None


def test_a_log_callback_lives_until_it_is_replaced(tiny: Any, restored_log: None) -> None:
    life = Life()
    llama_cpp.llama_log_set(llama_cpp.llama_log_callback(life.handed_over()), None)
    assert life.lasts
    llama_cpp.llama_free(context_of(tiny))
    assert life.calls
    llama_cpp.llama_log_set(None, None)
    assert not life.lasts


def test_ggml_log_set_replaces_what_llama_log_set_had_set(restored_log: None) -> None:
    life = Life()
    llama_cpp.llama_log_set(llama_cpp.llama_log_callback(life.handed_over()), None)
    llama_cpp.ggml_log_set(None, None)
    assert not life.lasts


def test_an_abort_callback_lives_until_it_is_replaced(context: Any) -> None:
    life = Life(answer=False)
    abort_with(context, life.handed_over())
    assert life.lasts
    assert decode(context) == 0
    assert life.calls
    llama_cpp.llama_set_abort_callback(context, None, None)
    assert not life.lasts


def test_an_abort_callback_lives_until_its_context_is_freed(tiny: Any) -> None:
    life, context = Life(answer=False), context_of(tiny)
    abort_with(context, life.handed_over())
    assert life.lasts
    llama_cpp.llama_free(context)
    assert not life.lasts


@pytest.mark.parametrize(
    ("field", "kind", "answer"),
    [("cb_eval", "ggml_backend_sched_eval_callback", True), ("abort_callback", "ggml_abort_callback", False)],
)
def test_the_callbacks_of_context_parameters_live_as_long_as_the_context(
    field: str, kind: str, answer: bool, tiny: Any
) -> None:
    life = Life(answer)
    context = context_of(tiny, **{field: getattr(llama_cpp, kind)(life.handed_over())})
    assert life.lasts
    assert decode(context) == 0
    assert life.calls
    llama_cpp.llama_free(context)
    assert not life.lasts


def test_what_c_got_is_kept_though_the_params_hold_something_else_when_the_call_ends(
    tiny: Any, restored_log: None
) -> None:
    """The log callback runs while the context is made, and gives the struct another callback."""
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 256, 1, 1
    called = set()

    def use(name: str) -> None:
        def callback(data: object) -> bool:
            called.add(name)
            return False

        params.abort_callback = llama_cpp.ggml_abort_callback(callback)

    def replace(*given: object) -> None:
        use("second")
        gc.collect()

    use("first")
    llama_cpp.llama_log_set(llama_cpp.llama_log_callback(replace), None)
    context = llama_cpp.llama_init_from_model(tiny, params)
    llama_cpp.llama_log_set(None, None)
    assert decode(context) == 0
    assert called == {"first"}
    llama_cpp.llama_free(context)


def test_two_contexts_keep_their_own_callbacks(tiny: Any) -> None:
    lives = [Life(answer=False), Life(answer=False)]
    contexts = [context_of(tiny, abort_callback=llama_cpp.ggml_abort_callback(life.handed_over())) for life in lives]
    llama_cpp.llama_free(contexts[0])
    assert [life.lasts for life in lives] == [False, True]
    assert decode(contexts[1]) == 0
    llama_cpp.llama_free(contexts[1])
    assert not lives[1].lasts


def test_a_progress_callback_is_gone_after_its_model(tiny_path: Path) -> None:
    life = Life(answer=True)
    model = load(tiny_path, progress_callback=llama_cpp.llama_progress_callback(life.handed_over()))
    assert life.calls
    llama_cpp.llama_model_free(model)
    assert not life.lasts


def test_a_progress_callback_is_gone_after_a_load_that_failed() -> None:
    life = Life(answer=True)
    assert load(Path("/no/such/file"), progress_callback=llama_cpp.llama_progress_callback(life.handed_over())) is None
    assert not life.lasts


def test_a_progress_callback_is_gone_after_it_cancelled_the_load(tiny_path: Path) -> None:
    life = Life(answer=False)
    assert load(tiny_path, progress_callback=llama_cpp.llama_progress_callback(life.handed_over())) is None
    assert not life.lasts


OWNERS: dict[str, Callable[[Any], Any]] = {
    "the sampler": lambda sampler: sampler,
    "its chain": chain_of,
    "the chain of its chain": lambda sampler: chain_of(chain_of(sampler)),
}


@pytest.mark.parametrize("owner", OWNERS)
def test_a_sampler_s_functions_live_until_their_owner_is_freed(owner: str) -> None:
    life = Life()
    freed = OWNERS[owner](user_sampler(accept=life.handed_over()))
    assert life.lasts
    llama_cpp.llama_sampler_accept(freed, 5)
    assert [given[1:] for given in life.calls] == [(5,)]
    llama_cpp.llama_sampler_free(freed)
    assert not life.lasts


def test_a_sampler_s_functions_live_on_when_it_is_taken_out_of_its_chain() -> None:
    life = Life()
    chain = chain_of(user_sampler(accept=life.handed_over()))
    sampler = llama_cpp.llama_sampler_chain_remove(chain, 0)
    llama_cpp.llama_sampler_free(chain)
    assert life.lasts
    llama_cpp.llama_sampler_accept(sampler, 5)
    assert life.calls
    llama_cpp.llama_sampler_free(sampler)
    assert not life.lasts


def test_a_sampler_s_free_function_is_called_before_it_dies() -> None:
    life = Life()
    llama_cpp.llama_sampler_free(user_sampler(free=life.handed_over()))
    assert len(life.calls) == 1
    assert not life.lasts


def test_an_exception_leaves_no_callback_behind(tiny: Any) -> None:
    class Traced(Exception):
        pass

    def fail(*given: object) -> bool:
        raise Traced

    reference = weakref.ref(fail)
    context = context_of(tiny, abort_callback=llama_cpp.ggml_abort_callback(fail))
    del fail
    with pytest.raises(Traced):
        decode(context)
    llama_cpp.llama_free(context)
    gc.collect()
    assert reference() is None


def test_callbacks_run_on_the_thread_that_calls(tiny: Any) -> None:
    """Each thread's exception comes out of its own call."""
    errors: dict[int, str] = {}

    def work(number: int) -> None:
        def fail(user_data: object) -> bool:
            raise Raised(number)

        context = context_of(tiny, abort_callback=llama_cpp.ggml_abort_callback(fail))
        try:
            decode(context)
        except Raised as error:
            errors[number] = str(error)
        llama_cpp.llama_free(context)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == {number: str(number) for number in range(4)}


# ---------------------------------------------------------------- Ctrl-C

# SIGINT comes while the main thread is in C, where no Python callback runs that would notice it: Python itself looks at
# signals only between two calls. That the call did not run to its end is seen by what it left undone.


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def heed_ctrl_c() -> None:
    """A process that a shell started in the background ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@alone
@returns((0, 0))
def test_ctrl_c_ends_a_long_decode_and_the_context_goes_on(folder: Path) -> object:
    heed_ctrl_c()
    deep = load(tiny_model.write(folder / "deep.gguf", tiny_model.Shape(layers=8, width=64)))
    sizes = {"n_ctx": 4096, "n_batch": 4096, "n_ubatch": 32}
    ctx, fresh = context_of(deep, **sizes), context_of(deep, **sizes)
    memory = llama_cpp.llama_get_memory(ctx)
    tokens = ints(*[5] * 4000)  # of seconds
    timer = threading.Timer(0.2, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(tokens, len(tokens)))
    timer.join()
    assert llama_cpp.llama_memory_seq_pos_max(memory, 0) < len(tokens) - 1
    llama_cpp.llama_memory_clear(memory, True)
    decoded = decode(ctx, [5] * 40), decode(fresh, [5] * 40)
    assert logits_of(ctx).argmax() == logits_of(fresh).argmax()
    return decoded


class Reading(logging.Handler):
    """Hears what a load says, and is set when it reads the tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.tensors = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
        # Once: Ctrl-C that comes inside of `set` may leave the event's lock taken.
        if "load_tensors" in self.said[-1] and not self.tensors.is_set():
            self.tensors.set()


@alone
@returns(True)
def test_ctrl_c_ends_a_model_load_and_a_model_can_be_loaded_again(folder: Path) -> bool:
    heed_ctrl_c()
    deep = tiny_model.write(folder / "deep.gguf", tiny_model.Shape(layers=300))
    reading, logger = Reading(), logging.getLogger("watched")
    logger.addHandler(reading)
    logger.setLevel(logging.DEBUG)
    llamacffi.log_to(logger)

    def interrupt_it() -> None:
        reading.tensors.wait(20)
        interrupt()

    thread = threading.Thread(target=interrupt_it)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        load(deep, use_mmap=False)
    thread.join()
    assert any("cancelled model load" in text for text in reading.said)
    return load() is not None


@alone
@returns((0, [signal.SIGINT]))
def test_a_handler_of_sigint_that_raises_nothing_lets_the_decode_go_on(ctx: Any) -> object:
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(signal.Signals(number)))
    interrupt()
    return decode(ctx), seen
