"""The 21 mistakes with which the design measured ctypes: there 12 kill the process and two are silently wrong."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from llamacffi import LlamaAssertionError, LlamaError, LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import raises, refused, returns
from support.objects import abort_with, batch_of_one, chain_of, decode, ints, load
from support.tiny_model import BYTES, N_VOCAB


@refused(LlamaValueError, r"llama_n_ctx\(\): ctx .+ not NULL")
def test_null_is_no_context() -> None:
    llama.llama_n_ctx(None)


@refused(LlamaValueError, r"llama_n_ctx\(\): ctx \(const struct llama_context \*\) .+ that llama_free\(\) has freed")
def test_a_freed_context_is_not_used(ctx: Any) -> None:
    llama.llama_free(ctx)
    llama.llama_n_ctx(ctx)


@refused(LlamaValueError, r"llama_free\(\): ctx .+ that llama_free\(\) has freed")
def test_a_context_is_not_freed_twice(ctx: Any) -> None:
    llama.llama_free(ctx)
    llama.llama_free(ctx)


@refused(LlamaValueError, r"llama_batch_free\(\): batch .+ freed already")
def test_a_batch_is_not_freed_twice() -> None:
    batch = batch_of_one()
    llama.llama_batch_free(batch)
    llama.llama_batch_free(batch)


@returns((0, None))
def test_a_model_may_be_freed_before_its_context(model: Any, ctx: Any) -> object:
    llama.llama_model_free(model)
    return decode(ctx), llama.llama_free(ctx)


@refused(LlamaValueError, r"llama_sampler_free\(\): smpl .+ belongs to a sampler chain")
def test_a_sampler_that_a_chain_took_is_not_freed() -> None:
    greedy = llama.llama_sampler_init_greedy()
    chain_of(greedy)
    llama.llama_sampler_free(greedy)


@refused(LlamaValueError, r"llama_tokenize\(\): tokens .+ holds 2, where C may read or write 64 items")
def test_a_buffer_of_tokens_is_no_shorter_than_n_tokens_max(vocab: Any) -> None:
    llama.llama_tokenize(vocab, b"the cat", 7, ints(0, 0), 64, True, True)


@refused(LlamaValueError, r"llama_decode\(\): batch \(struct llama_batch\) has n_tokens = 5, but holds 4")
def test_n_tokens_is_not_beyond_the_batch(ctx: Any) -> None:
    batch = batch_of_one(4)
    batch.n_tokens = 5
    llama.llama_decode(ctx, batch)


@refused(LlamaAssertionError, r"llama_sampler_sample\(\): .+logits != nullptr")
def test_without_logits_nothing_is_sampled(ctx: Any) -> None:
    llama.llama_sampler_sample(llama.llama_sampler_init_greedy(), ctx, -1)


@refused(LlamaValueError, r"llama_vocab_get_text\(\): .*1000000")
def test_a_token_id_out_of_range_has_no_text(vocab: Any) -> None:
    llama.llama_vocab_get_text(vocab, 10**6)


@refused(LlamaError, r"llama_sampler_accept\(\): .+empty grammar stack")
def test_a_grammar_is_not_pushed_past_its_end(vocab: Any) -> None:
    grammar = llama.llama_sampler_init_grammar(vocab, b'root ::= "a"', b"root")
    for _ in range(2):
        llama.llama_sampler_accept(grammar, BYTES + ord("a"))


@returns(None)
def test_a_log_callback_lives_on_after_its_name_is_gone() -> object:
    llama.llama_log_set(llama.llama_log_callback(lambda *given: None), None)
    gc.collect()
    return load(Path("/nonexistent"))


@refused(LlamaValueError, r"llama_n_ctx\(\): ctx .+ not a llama_model")
def test_a_model_is_no_context(model: Any) -> None:
    llama.llama_n_ctx(model)


@refused(LlamaValueError, r"llama_state_get_data\(\): dst .+ holds 10, where C may read or write 1000000 items")
def test_a_state_is_not_longer_than_its_buffer(ctx: Any) -> None:
    llama.llama_state_get_data(ctx, bytearray(10), 10**6)


@returns(None)
def test_a_file_that_is_not_there_is_no_model() -> object:
    return load(Path("/nonexistent"))


@refused(TypeError, r"llama_vocab_get_text\(\): token .+ must be an integer, not float")
def test_a_float_is_no_integer(vocab: Any) -> None:
    llama.llama_vocab_get_text(vocab, 1.5)


@refused(
    TypeError,
    r"llama_tokenize\(\) missing 5 required positional arguments: 'text_len', 'tokens', .* and 'parse_special'",
)
def test_two_arguments_are_not_seven(vocab: Any) -> None:
    llama.llama_tokenize(vocab, b"a")


@refused(TypeError, r"llama_init_from_model\(\): params .+ a llama_context_params struct, not llama_model_params")
def test_another_struct_is_not_the_one_that_c_wants(model: Any) -> None:
    llama.llama_init_from_model(model, llama.llama_model_default_params())


@returns(-1)
def test_a_token_beyond_the_vocabulary_is_not_decoded(ctx: Any) -> int:
    return decode(ctx, (N_VOCAB,))


@refused(LlamaValueError, r"llama_vocab_get_text\(\): token .+ cannot hold 1099511627776")
def test_a_number_is_not_cut_to_what_c_holds(vocab: Any) -> None:
    llama.llama_vocab_get_text(vocab, 2**40)


@raises(ZeroDivisionError, "division by zero")
def test_an_exception_in_a_callback_comes_out_of_the_call(ctx: Any) -> None:
    abort_with(ctx, lambda data: 1 / 0)
    decode(ctx)
