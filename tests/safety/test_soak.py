"""Thousands of cycles of making and freeing leave neither memory nor open files behind.

Memory is looked at after a tenth of the cycles, when all caches are filled, and at the end.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from llamacffi import LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import alone, returns
from support.objects import abort_with, chain_of, context_of, decode, ints, load

pytestmark = alone

MOST_GROWTH = 5  # MB
TEXT = b"the cat at the dog"


Cycle = Callable[[Any], None]  # gets a model that lives on


def make_vocabulary(model: Any) -> None:
    vocabulary = load(vocab_only=True)
    vocab = llama.llama_model_get_vocab(vocabulary)
    assert llama.llama_tokenize(vocab, TEXT, len(TEXT), ints(*[0] * 64), 64, True, True) > 0
    llama.llama_model_free(vocabulary)


def make_context(model: Any) -> None:
    """Create a context, decode, sample, free."""
    ctx = context_of(model)
    abort_with(ctx, lambda data: False)
    assert decode(ctx) == 0
    chain = chain_of(llama.llama_sampler_init_top_k(5), llama.llama_sampler_init_dist(1))
    assert llama.llama_sampler_sample(chain, ctx, -1) >= 0
    llama.llama_sampler_free(chain)
    llama.llama_free(ctx)


def use_what_is_no_context(model: Any) -> None:
    ctx = context_of(model)
    llama.llama_free(ctx)
    for wrong in (ctx, None, model, 8):
        with pytest.raises(LlamaValueError):
            llama.llama_n_ctx(wrong)


CYCLES: dict[str, Cycle] = {"vocabulary": make_vocabulary, "context": make_context, "refused": use_what_is_no_context}
SHORT = {"vocabulary": 200, "context": 50, "refused": 200}
LONG = {"vocabulary": 10_000, "context": 2_000, "refused": 10_000}


def used() -> tuple[float, int]:
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss / 2**20, process.num_fds()


def assert_level(cycle: Cycle, count: int, model: Any) -> None:
    for _ in range(count // 10):
        cycle(model)
    memory, files = used()
    for _ in range(count):
        cycle(model)
    memory_after, files_after = used()
    assert memory_after - memory < MOST_GROWTH
    assert files_after == files


@pytest.mark.parametrize("cycle", SHORT)
@returns(None)
def test_memory_and_files_stay_level(cycle: str, model: Any) -> None:
    assert_level(CYCLES[cycle], SHORT[cycle], model)


@pytest.mark.long
@pytest.mark.parametrize("cycle", LONG)
@returns(None)
def test_memory_and_files_stay_level_over_thousands_of_cycles(cycle: str, model: Any) -> None:
    signal.alarm(0)  # it takes minutes
    assert_level(CYCLES[cycle], LONG[cycle], model)
