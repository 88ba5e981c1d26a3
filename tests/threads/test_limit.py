"""No more threads than this process may use CPUs, and who has another say: the variable, the user's params."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llamacffi
from llamacffi import LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import refused, returns
from support.compute_threads import VARIABLE, Workers, affinity, most_threads
from support.objects import context_of, decode
from support.processes import output_of

CPUS = sorted(os.sched_getaffinity(0))  # one, on some machines


def told(ctx: Any) -> tuple[int, int]:
    return llama.llama_n_threads(ctx), llama.llama_n_threads_batch(ctx)


# ---------------------------------------------------------------- what the user wrote

DEFAULTS_IN_C = """
#include <stdio.h>
#include "llama.h"
int main(void) {
    struct llama_context_params params = llama_context_default_params();
    printf("%d %d\\n", params.n_threads, params.n_threads_batch);
    return 0;
}
"""


def test_the_default_params_are_c_s(c_program: Callable[[str], Path]) -> None:
    params = llama.llama_context_default_params()
    assert f"{params.n_threads} {params.n_threads_batch}\n" == output_of(c_program(DEFAULTS_IN_C))


@returns((300, 200))
def test_the_params_keep_what_was_written(model: Any) -> object:
    params = llama.llama_context_default_params()
    params.n_threads, params.n_threads_batch = 300, 200
    with most_threads(1):
        assert llama.llama_init_from_model(model, params)
    return params.n_threads, params.n_threads_batch


# ---------------------------------------------------------------- the CPUs


@returns((1, 1))
def test_with_one_cpu_a_context_has_one_thread(model: Any) -> object:
    with most_threads(None), affinity({CPUS[-1]}):
        return told(context_of(model, n_threads=8, n_threads_batch=8))


@returns((0, 0))
def test_with_one_cpu_a_context_computes_without_a_pool(model: Any) -> object:
    workers = Workers()
    with most_threads(None), affinity({CPUS[-1]}):
        ctx = context_of(model, n_threads=8, n_threads_batch=8)
    return decode(ctx), workers.count()


@pytest.mark.parametrize("count", [1, 2])
@returns(True)
def test_a_context_has_no_more_threads_than_there_are_usable_cpus(count: int, model: Any) -> bool:
    with most_threads(None), affinity(set(CPUS[:count])):
        usable = llamacffi.usable_cpus()
        return told(context_of(model, n_threads=8, n_threads_batch=9)) == (usable, usable)


@returns((2, 1))
def test_fewer_threads_than_may_be_are_left_as_they_are(model: Any) -> object:
    with most_threads(4):
        return told(context_of(model, n_threads=2, n_threads_batch=1))


@returns((3, 4))
def test_the_two_numbers_are_limited_one_by_one(model: Any) -> object:
    with most_threads(4):
        return told(context_of(model, n_threads=3, n_threads_batch=8))


@returns((4, 3))
def test_no_more_can_be_set_afterwards(model: Any) -> object:
    with most_threads(4):
        ctx = context_of(model)
    llama.llama_set_n_threads(ctx, 256, 3)
    return told(ctx)


@returns((4, 1))
def test_the_limit_is_read_when_the_context_is_made(model: Any) -> object:
    with most_threads(4):
        first = context_of(model, n_threads=8)
    with most_threads(1):
        second = context_of(model, n_threads=8)
        llama.llama_set_n_threads(first, 8, 8)
    return llama.llama_n_threads(first), llama.llama_n_threads(second)


@returns((4, 4))
def test_no_number_of_threads_asks_for_c_s_default(model: Any) -> object:
    """ggml takes its default where a graph is computed with none (`ggml_graph_plan`)."""
    with most_threads(8):
        return told(context_of(model, n_threads=0, n_threads_batch=-1))


# ---------------------------------------------------------------- LLAMACFFI_MAX_THREADS


@pytest.mark.parametrize("number", [1, 8])
@returns(True)
def test_the_variable_takes_the_place_of_the_cpus(number: int, model: Any) -> bool:
    with most_threads(number), affinity({CPUS[0]}):
        return told(context_of(model, n_threads=100, n_threads_batch=100)) == (number, number)


@returns(True)
def test_an_empty_variable_is_none(model: Any) -> object:
    with most_threads(None):
        os.environ[VARIABLE] = ""
        return llama.llama_n_threads(context_of(model, n_threads=100)) == llamacffi.usable_cpus()


@returns(True)
def test_the_variable_changes_nothing_about_the_usable_cpus() -> bool:
    with most_threads(None):
        without = llamacffi.usable_cpus()
    with most_threads(400):
        return llamacffi.usable_cpus() == without


def says_what_to_do(value: str, **given: object) -> str:
    return rf"llama_init_from_model\(\): {VARIABLE} should be .+ from 1 to 512, not '{value}': correct or unset it$"


@pytest.mark.parametrize("value", ["0", "-1", "many", "2 threads", "1.5", "513", "1000000", "9" * 30])
@refused(LlamaValueError, says_what_to_do)
def test_another_value_is_refused_when_a_context_is_made(value: str, model: Any) -> None:
    with most_threads(None):
        os.environ[VARIABLE] = value
        context_of(model)
