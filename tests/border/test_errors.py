"""What C throws and asserts is an exception, with what llama.cpp said, and leaves a usable interpreter.

What ends the process with ctypes is tested in tests/safety, mistake by mistake.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamacffi import LlamaAssertionError, LlamaError, LlamaValueError, llama_cpp
from support import gguf_files, mutated_model, tiny_model
from support.cells import alone, refused, returns
from support.objects import context_of, decode, load, logits_of


def test_an_assertion_s_text_names_file_line_and_expression(context: Any) -> None:
    with pytest.raises(LlamaAssertionError, match=r"src/llama-sampler\.cpp:\d+: GGML_ASSERT\(.+\) failed"):
        llama_cpp.llama_sampler_sample(llama_cpp.llama_sampler_init_greedy(), context, -1)


def test_an_exception_carries_what_was_logged_as_error_during_the_call(context: Any) -> None:
    with pytest.raises(LlamaAssertionError, match="get_logits_ith: invalid logits id -1"):
        llama_cpp.llama_sampler_sample(llama_cpp.llama_sampler_init_greedy(), context, -1)


def test_an_exception_carries_nothing_of_an_earlier_call(context: Any, vocab: Any) -> None:
    assert not llama_cpp.llama_get_logits_ith(context, 99)
    with pytest.raises(LlamaError) as raised:
        llama_cpp.llama_vocab_get_text(vocab, 10**6)
    assert "get_logits_ith" not in str(raised.value)


def test_the_exceptions_are_of_python_s_kinds_too() -> None:
    assert issubclass(LlamaError, RuntimeError)
    assert issubclass(LlamaAssertionError, LlamaError)
    assert issubclass(LlamaValueError, (LlamaError, ValueError))
    assert issubclass(LlamaValueError, ValueError)


# ---------------------------------------------------------------- memory

MORE = 100_000_000  # bytes that the process may have more than it has


def limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MORE, hard))


TEXT = b"x" * 20_000_000
HUNGRY: dict[str, Callable[[Any], object]] = {
    "llama_sampler_init_dry": lambda vocab: llama_cpp.llama_sampler_init_dry(vocab, 1.0, 2.0, 1, 2**24, None, 0),
    "llama_tokenize": lambda vocab: llama_cpp.llama_tokenize(vocab, TEXT, len(TEXT), None, 0, True, True),
}


@alone
@pytest.mark.parametrize("function", HUNGRY)
@returns(0)
def test_memory_that_c_cannot_get_is_a_memory_error(function: str, vocab: Any) -> int:
    limit_memory()
    with pytest.raises(MemoryError, match=rf"^{function}\(\): "):
        HUNGRY[function](vocab)
    return decode(context_of(load()))


# ---------------------------------------------------------------- damaged files

# Found by trying the first 2,500 seeds of each kind: what each makes of the file fails an assertion in the named call.
# They hold for the file that `tiny_model` writes: after a change of it, search again.
SEEDS = {
    "llama_model_load_from_file": [
        *(("number", seed) for seed in (18, 158, 355, 373)),
        *(("bytes", seed) for seed in (116, 149, 374, 451, 988, 1002, 1078, 1370)),
    ],
    "llama_init_from_model": [("architecture", seed) for seed in (234, 296, 396, 505)],
    "llama_decode": [("number", seed) for seed in (125, 175, 184, 303)],
}
DAMAGED = [(function, kind, seed) for function, seeds in SEEDS.items() for kind, seed in seeds]


def test_there_are_twenty_damaged_files() -> None:
    assert len(set(DAMAGED)) == 20


def write_damaged(folder: Path, kind: str, seed: int) -> Path:
    path = folder / "damaged.gguf"
    path.write_bytes(mutated_model.mutate(gguf_files.shared(), kind, seed))
    return path


@pytest.mark.parametrize(("function", "kind", "seed"), DAMAGED)
@refused(LlamaAssertionError, lambda function, kind, seed: rf"{function}\(\): .*GGML_ASSERT")
def test_a_damaged_file_that_fails_an_assertion_raises(function: str, kind: str, seed: int, folder: Path) -> None:
    decode(context_of(load(write_damaged(folder, kind, seed))))


def test_a_damaged_file_that_llama_cpp_notices_is_no_model(tiny_path: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny_path.read_bytes()[:1000])
    assert load(damaged) is None


# ---------------------------------------------------------------- after an assertion


@returns(None)
def test_another_context_of_the_model_decodes_correctly_after_an_assertion(model: Any) -> object:
    """The expected logits are those of a context that was made and used before anything failed."""
    untouched, failing, later = (context_of(model) for _ in range(3))
    assert decode(untouched) == 0
    expected = logits_of(untouched).copy()
    with pytest.raises(LlamaAssertionError):
        llama_cpp.llama_sampler_sample(llama_cpp.llama_sampler_init_greedy(), failing, -1)
    assert decode(later) == 0
    assert np.array_equal(logits_of(later), expected)
    return llama_cpp.llama_free(failing)


def broken_context() -> Any:
    """Make a context whose decode failed an assertion: the eps of its file is no positive number.

    It needs one thread: on a worker thread of the engine nothing can catch what is thrown.
    """
    ctx = context_of(load(write_damaged(Path(tempfile.mkdtemp()), *SEEDS["llama_decode"][0])))
    with pytest.raises(LlamaAssertionError):
        decode(ctx)
    return ctx


CALLS: dict[str, Callable[[Any], object]] = {
    "llama_decode": decode,
    "llama_get_logits_ith": lambda ctx: llama_cpp.llama_get_logits_ith(ctx, -1),
    "llama_n_ctx": llama_cpp.llama_n_ctx,
}


@pytest.mark.parametrize("function", CALLS)
@refused(LlamaError, lambda function: rf"{function}\(\): ctx .+ broken.+ freed")
def test_a_context_whose_decode_failed_an_assertion_is_not_used(function: str) -> None:
    CALLS[function](broken_context())


@returns(None)
def test_a_context_whose_decode_failed_an_assertion_is_freed() -> object:
    return llama_cpp.llama_free(broken_context())


@returns(0)
def test_a_new_context_at_a_broken_one_s_address_works(model: Any) -> int:
    """Where the allocator puts a context is not ours to say, so it is asked until it gives the address again."""
    made = broken = None
    while made is None or made != broken:
        broken = context_of(model)
        with pytest.raises(LlamaAssertionError):
            decode(broken, [5] * 300)
        llama_cpp.llama_free(broken)
        made = context_of(model)
    return decode(made)


def test_decoding_with_the_wrong_token_is_refused_by_llama_cpp_itself(context: Any) -> None:
    assert decode(context, [tiny_model.N_VOCAB]) == -1


# ---------------------------------------------------------------- what a user's own methods raise


class Own(Exception):
    """No exception that the border could take for its own."""


RAISED = (Own, TypeError, ValueError, OverflowError, BufferError, RuntimeError)
raised = pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)


def with_method(name: str, kind: type[Exception]) -> Any:
    """Make an object whose method of this name raises."""

    def method(*_: object) -> None:
        raise kind("mine")

    return type("Given", (), {name: method})()


@raised
def test_what_an_index_raises_comes_out(kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^mine$"):
        llama_cpp.ggml_type_size(with_method("__index__", kind))


@raised
def test_what_a_float_raises_comes_out(kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^mine$"):
        llama_cpp.llama_sampler_init_temp(with_method("__float__", kind))


@raised
def test_what_a_bool_raises_comes_out(kind: type[Exception], vocab: Any) -> None:
    class Given:
        def __index__(self) -> int:
            return 1

        def __bool__(self) -> bool:
            raise kind("mine")

    with pytest.raises(kind, match=r"^mine$"):
        llama_cpp.llama_tokenize(vocab, b"a", 1, None, 0, Given(), False)


@raised
@pytest.mark.parametrize("call", [llama_cpp.ggml_type_size, llama_cpp.llama_sampler_init_temp])
def test_what_a_getattr_raises_comes_out(call: Callable[[Any], object], kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^mine$"):
        call(with_method("__getattr__", kind))


@pytest.mark.parametrize("call", [llama_cpp.ggml_type_size, llama_cpp.llama_sampler_init_temp])
def test_an_object_that_lacks_the_attribute_is_no_number(call: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"must be .+, not Given"):
        call(with_method("__getattr__", AttributeError))


@raised
def test_what_an_item_of_a_list_raises_comes_out(kind: type[Exception], vocab: Any) -> None:
    with pytest.raises(kind, match=r"^mine$"):
        llama_cpp.llama_detokenize(vocab, [1, with_method("__index__", kind)], 2, bytearray(8), 8, False, False)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python code exports buffers since 3.12")
@raised
def test_what_an_exporter_of_a_buffer_raises_comes_out(kind: type[Exception], vocab: Any) -> None:
    with pytest.raises(kind, match=r"^mine$"):
        llama_cpp.llama_tokenize(vocab, with_method("__buffer__", kind), 1, None, 0, False, False)
