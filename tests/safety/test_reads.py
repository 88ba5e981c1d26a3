"""What an object reads lives as long as it does, whoever frees first: the caller finds it dead, C does not.

A model's memory is a mapping of its file, so /proc tells when it goes.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import shutil
import sys
from collections.abc import Callable
from ctypes import byref
from pathlib import Path
from typing import Any

import pytest

from llamacffi import LlamaValueError
from llamacffi import llama_cpp as llama
from support import gguf_files
from support.cells import refused, returns
from support.objects import abort_with, candidates, chain_of, context_of, decode, load, pool_of, user_sampler

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

GRAMMAR = b'root ::= "a" root | "b"'


def own_model(folder: Path) -> Any:
    """Load a copy of the tiny model, which no other object maps."""
    return load(Path(shutil.copy(gguf_files.shared(), folder / "own.gguf")))


def is_mapped(folder: Path) -> bool:
    return str(folder / "own.gguf") in Path("/proc/self/maps").read_text()


def use(sampler: Any) -> None:
    llama.llama_sampler_apply(sampler, byref(candidates()))
    llama.llama_sampler_reset(sampler)


def dry(vocab: Any) -> Any:
    breakers = (ctypes.c_char_p * 1)(b"\n")
    return llama.llama_sampler_init_dry(vocab, 0.8, 1.75, 2, -1, breakers, 1)


READERS: dict[str, Callable[[Any], Any]] = {
    "grammar": lambda vocab: llama.llama_sampler_init_grammar(vocab, GRAMMAR, b"root"),
    "lazy grammar": lambda vocab: llama.llama_sampler_init_grammar_lazy_patterns(
        vocab, GRAMMAR, b"root", (ctypes.c_char_p * 1)(b"x"), 1, None, 0
    ),
    "infill": lambda vocab: llama.llama_sampler_init_infill(vocab),
    "DRY": dry,
}

# What becomes of the sampler before the model is freed; what comes back is used, and then freed.
KEPT_AS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda sampler: sampler,
    "in a chain": lambda sampler: chain_of(sampler),
    "in a chain of a chain": lambda sampler: chain_of(chain_of(sampler)),
    "as a copy": lambda sampler: only(llama.llama_sampler_clone(sampler), sampler),
    "in the copy of a chain": lambda sampler: only(llama.llama_sampler_clone(chain := chain_of(sampler)), chain),
    "out of a chain": lambda sampler: llama.llama_sampler_chain_remove(chain_of(sampler), 0),
    "out of the copy of a chain": lambda sampler: out_of_copy(chain_of(sampler)),
}


def only(kept: Any, freed: Any) -> Any:
    llama.llama_sampler_free(freed)
    return kept


def out_of_copy(chain: Any) -> Any:
    copy = only(llama.llama_sampler_clone(chain), chain)
    return only(llama.llama_sampler_chain_remove(copy, 0), copy)


@only_linux
@pytest.mark.parametrize("kept_as", KEPT_AS)
@pytest.mark.parametrize("reader", READERS)
@returns((True, False))
def test_a_model_that_is_freed_first_goes_with_the_last_sampler(reader: str, kept_as: str, folder: Path) -> object:
    model = own_model(folder)
    sampler = KEPT_AS[kept_as](READERS[reader](llama.llama_model_get_vocab(model)))
    llama.llama_model_free(model)
    use(sampler)
    there = is_mapped(folder)
    llama.llama_sampler_free(sampler)
    return there, is_mapped(folder)


@only_linux
@returns((True, True, False))
def test_a_model_goes_with_the_last_of_all_that_read_it(folder: Path) -> object:
    model = own_model(folder)
    ctx, vocab = context_of(model), llama.llama_model_get_vocab(model)
    samplers = [READERS[name](vocab) for name in READERS]
    llama.llama_model_free(model)
    llama.llama_free(ctx)
    there = is_mapped(folder)
    for sampler in samplers[1:]:
        llama.llama_sampler_free(sampler)
    still = is_mapped(folder)
    llama.llama_sampler_free(samplers[0])
    return there, still, is_mapped(folder)


@refused(LlamaValueError, r"llama_sampler_init_grammar\(\): vocab .+ that llama_model_free\(\) has freed")
def test_a_model_that_only_a_sampler_keeps_is_dead_to_the_caller(model: Any, vocab: Any, ctx: Any) -> None:
    READERS["grammar"](vocab)
    llama.llama_model_free(model)
    READERS["grammar"](vocab)


# ---------------------------------------------------------------- contexts


@only_linux
@returns((0, True, False))
def test_a_context_that_is_freed_first_goes_with_its_batch(folder: Path) -> object:
    """The batch asks its context's memory for the next position."""
    model = own_model(folder)
    ctx = context_of(model)
    batch = llama.llama_batch_ext_init(ctx)
    llama.llama_free(ctx)
    llama.llama_model_free(model)
    added = llama.llama_batch_ext_add_token(batch, 0, 5)
    there = is_mapped(folder)
    llama.llama_batch_ext_free(batch)
    return added, there, is_mapped(folder)


@refused(LlamaValueError, r"llama_process\(\): ctx .+ that llama_free\(\) has freed")
def test_a_context_that_only_its_batch_keeps_is_dead_to_the_caller(model: Any) -> None:
    ctx = context_of(model)
    batch = llama.llama_batch_ext_init(ctx)
    llama.llama_free(ctx)
    llama.llama_process(ctx, llama.LLAMA_PROCESS_TYPE_DECODE, batch)


@returns((None, None, None))
def test_what_was_attached_to_a_context_that_only_its_batch_keeps_can_be_freed(model: Any) -> object:
    ctx, pool, chain = context_of(model), pool_of(2), chain_of(llama.llama_sampler_init_greedy())
    batch = llama.llama_batch_ext_init(ctx)
    llama.llama_attach_threadpool(ctx, pool, None)
    llama.llama_set_sampler(ctx, 0, chain)
    llama.llama_free(ctx)
    return llama.ggml_threadpool_free(pool), llama.llama_sampler_free(chain), llama.llama_batch_ext_free(batch)


@refused(LlamaValueError, r"llama_sampler_free\(\): smpl .+ is attached to a context")
def test_a_chain_is_not_freed_while_one_inside_of_it_is_attached_to_a_context(ctx: Any) -> None:
    inner = chain_of(llama.llama_sampler_init_greedy())
    llama.llama_set_sampler(ctx, 0, inner)
    llama.llama_sampler_free(chain_of(inner))


@refused(LlamaValueError, r"llama_set_sampler\(\): smpl .+ must be a sampler chain")
def test_only_a_chain_is_attached_to_a_context(ctx: Any) -> None:
    llama.llama_set_sampler(ctx, 0, llama.llama_sampler_init_greedy())


@returns((True, 0, None))
def test_a_context_lets_go_of_its_sampler(ctx: Any) -> object:
    chain = chain_of(llama.llama_sampler_init_greedy())
    llama.llama_set_sampler(ctx, 0, chain)
    return llama.llama_set_sampler(ctx, 0, None), decode(ctx), llama.llama_sampler_free(chain)


@returns((0, 0))
def test_a_context_computes_after_its_pool_was_detached_and_freed(ctx: Any) -> object:
    pool = pool_of(2)
    llama.llama_set_n_threads(ctx, 2, 2)
    llama.llama_attach_threadpool(ctx, pool, None)
    before = decode(ctx)
    llama.llama_detach_threadpool(ctx)
    llama.ggml_threadpool_free(pool)
    return before, decode(ctx)


# ---------------------------------------------------------------- ggml's objects


@returns((None, None))
def test_a_backend_that_is_freed_first_goes_with_its_scheduler() -> object:
    backend = llama.ggml_backend_cpu_init()
    sched = llama.ggml_backend_sched_new((ctypes.c_void_p * 1)(backend), None, 1, 64, False, False)
    freed = llama.ggml_backend_free(backend)
    llama.ggml_backend_sched_reset(sched)
    return freed, llama.ggml_backend_sched_free(sched)


@refused(LlamaValueError, r"ggml_backend_name\(\): backend .+ that ggml_backend_free\(\) has freed")
def test_a_backend_that_only_its_scheduler_keeps_is_dead_to_the_caller() -> None:
    backend = llama.ggml_backend_cpu_init()
    llama.ggml_backend_sched_new((ctypes.c_void_p * 1)(backend), None, 1, 64, False, False)
    llama.ggml_backend_free(backend)
    llama.ggml_backend_name(backend)


# ---------------------------------------------------------------- what the caller hands in


@returns(b"\x01\x02\x03\x04" * 8)
def test_a_gguf_context_keeps_the_data_of_its_tensors(folder: Path) -> object:
    gguf = gguf_with_a_tensor()
    llama.gguf_set_tensor_data(gguf, b"tensor", bytearray(b"\x01\x02\x03\x04" * 8))
    gc.collect()
    overwrite = [bytearray(32) for _ in range(1000)]
    llama.gguf_write_to_file(gguf, str(folder / "out.gguf").encode(), False)
    return (folder / "out.gguf").read_bytes()[-32 * len(overwrite[:1]) :]


def gguf_with_a_tensor() -> Any:
    """Make a context with one tensor of eight floats."""
    ctx = llama.ggml_init(llama.ggml_init_params(4096, None, False))
    tensor = llama.ggml_new_tensor_1d(ctx, llama.GGML_TYPE_F32, 8)
    llama.ggml_set_name(tensor, b"tensor")
    gguf = llama.gguf_init_empty()
    llama.gguf_add_tensor(gguf, tensor)
    return gguf


@returns(b"own")
def test_the_copy_of_a_sampler_keeps_the_functions_of_the_first() -> object:
    """Without a `clone` of its own the copy has the same interface."""
    sampler = user_sampler(name=lambda itself: b"own")
    copy = llama.llama_sampler_clone(sampler)
    llama.llama_sampler_free(sampler)
    gc.collect()
    return llama.llama_sampler_name(copy)


@refused(LlamaValueError, r"llama_sampler_free\(\): smpl .+ belongs to a sampler chain")
def test_what_clone_has_made_for_the_copy_of_a_chain_belongs_to_it() -> None:
    made: list[Any] = []

    def clone(itself: object) -> int:
        made.append(llama.llama_sampler_init_greedy())
        return int(ctypes.cast(made[0], ctypes.c_void_p).value or 0)

    llama.llama_sampler_clone(chain_of(user_sampler(clone=clone)))
    llama.llama_sampler_free(made[0])


# ---------------------------------------------------------------- callbacks


@returns((1, True))
def test_a_callback_that_was_set_while_the_log_raises_is_kept(ctx: Any) -> object:
    """Whatever logs and raises during the setter, C has the callback from then on."""

    def fail(*given: object) -> None:
        raise ZeroDivisionError

    seen: list[int] = []

    def look(data: object) -> bool:
        seen.append(1)
        return False

    llama.llama_log_set(llama.llama_log_callback(fail), None)
    with contextlib.suppress(ZeroDivisionError):
        abort_with(ctx, look)
    llama.llama_log_set(None, None)
    gc.collect()
    return decode(ctx) + 1, len(seen) > 0
