"""Contexts whose params cannot be, or are odd: what is refused, what llama.cpp does not make, and what decodes."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from llamacffi import LlamaAssertionError, LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import refused, returns
from support.objects import context_of, decode, pool_of

# ---------------------------------------------------------------- refused


@pytest.mark.parametrize("number", [9999, -1, 31])
@pytest.mark.parametrize("field", ["type_k", "type_v"])
@refused(LlamaValueError, lambda field, number: rf"llama_init_from_model\(\): params.{field} .+ has no value {number}")
def test_a_cache_has_a_type_that_is_one(field: str, number: int, model: Any) -> None:
    context_of(model, **{field: number})


@pytest.mark.parametrize("number", [9, 15, 24, 28])  # q8_1 and q8_K: what others are multiplied with
@pytest.mark.parametrize("field", ["type_k", "type_v"])
@refused(LlamaValueError, r"llama_init_from_model\(\): type_k or type_v is no ggml_type that a cache can have")
def test_a_cache_has_a_type_that_can_be_computed_with(field: str, number: int, model: Any) -> None:
    context_of(model, **{field: number})


@refused(LlamaValueError, r"llama_init_from_model\(\): samplers must hold n_samplers items")
def test_samplers_that_are_counted_are_there(model: Any) -> None:
    context_of(model, n_samplers=5)


@refused(LlamaAssertionError, r"llama_init_from_model\(\): .+n_outputs_max <= cparams.n_outputs_max")
def test_a_batch_of_no_tokens_is_no_batch(model: Any) -> None:
    context_of(model, n_batch=0)


ENUMS = ("flash_attn_type", "ctx_type", "rope_scaling_type", "pooling_type", "attention_type")


@pytest.mark.parametrize("field", ENUMS)
@refused(
    LlamaValueError, lambda field: rf"llama_init_from_model\(\): params.{field} \(enum llama_\w+\) has no value 99"
)
def test_an_enum_of_the_params_is_one_that_the_header_names(field: str, model: Any) -> None:
    context_of(model, **{field: 99})


@refused(LlamaValueError, r"llama_init_from_model\(\): params.n_ctx .+ must be from 0 to 2147483392, not 4294967295")
def test_a_context_is_no_longer_than_its_positions(model: Any) -> None:
    context_of(model, n_ctx=2**32 - 1)


@refused(LlamaAssertionError, r"llama_decode\(\): .+n_tokens_all <= cparams.n_batch")
def test_a_context_of_one_token_does_not_decode_three(model: Any) -> None:
    decode(context_of(model, n_ctx=1))


@pytest.mark.parametrize("count", [-1, 10**6])
@refused(LlamaValueError, r"ggml_threadpool_new\(\): params.n_threads \(int\) must be from 1 to 512")
def test_a_pool_has_as_many_threads_as_ggml_allows(count: int) -> None:
    pool_of(count)


# ---------------------------------------------------------------- not made, or made


@returns(None)
def test_more_sequences_than_llama_cpp_has_are_no_context(model: Any) -> object:
    return context_of(model, n_seq_max=2**32 - 1)


IGNORED = [
    ("n_batch", 2**32 - 1),
    ("n_ubatch", 0),
    ("n_seq_max", 0),
    ("n_rs_seq", 2**32 - 1),
    ("n_outputs_max", 2**32 - 1),
    ("n_threads", 0),
    ("n_threads", -1),
]


@pytest.mark.parametrize(("field", "number"), IGNORED)
@returns(0)
def test_a_number_that_llama_cpp_replaces_or_does_not_read_is_survived(field: str, number: int, model: Any) -> int:
    return decode(context_of(model, **{field: number}))


OTHER = r"llama_init_from_model\(\): params .+ must hold at ctx_other a live llama_context, not"


@refused(LlamaValueError, rf"{OTHER} a freed one")
def test_a_freed_context_is_not_the_other_of_a_new_one(model: Any) -> None:
    other = context_of(model)
    llama.llama_free(other)
    context_of(model, ctx_other=other)


@refused(LlamaValueError, rf"{OTHER} what is none")
def test_a_number_is_not_the_other_context(model: Any) -> None:
    context_of(model, ctx_other=8)


# ---------------------------------------------------------------- training


def epoch(ctx: Any, kind: int, n_labels: int, label: int) -> None:
    dataset = llama.ggml_opt_dataset_init(kind, kind, 8, n_labels, 32, 1)
    labels = llama.ggml_opt_dataset_labels(dataset).contents
    ctypes.cast(labels.data, ctypes.POINTER(ctypes.c_int32))[0] = label
    llama.llama_opt_epoch(ctx, dataset, None, None, 0, None, None)


@refused(LlamaValueError, r"llama_opt_epoch\(\): dataset must have int32 tokens, and as many int32 labels")
def test_a_dataset_without_tokens_is_not_trained_on(ctx: Any) -> None:
    epoch(ctx, llama.GGML_TYPE_F32, 8, 0)


@refused(LlamaValueError, r"llama_opt_epoch\(\): dataset must have int32 tokens, and as many int32 labels")
def test_a_dataset_with_more_labels_than_tokens_is_not_trained_on(ctx: Any) -> None:
    epoch(ctx, llama.GGML_TYPE_I32, 16, 0)


@refused(LlamaValueError, r"llama_opt_epoch\(\): dataset has a label that is not in the vocabulary")
def test_a_label_is_in_the_vocabulary(ctx: Any) -> None:
    epoch(ctx, llama.GGML_TYPE_I32, 8, -5)
