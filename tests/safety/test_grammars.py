"""Grammars and their triggers that cannot be parsed, or that would take the stack or the memory."""

from __future__ import annotations

from ctypes import byref
from typing import Any

from llamacffi import LlamaError, LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import refused, returns
from support.objects import candidates, strings

LETTER = b'root ::= "a"'
NESTED = b"root ::= " + b"(" * 100_000

# ---------------------------------------------------------------- rules


@refused(LlamaValueError, r"llama_sampler_init_grammar\(\): grammar_str nests too many parentheses")
def test_a_grammar_is_not_nested_too_deeply(vocab: Any) -> None:
    llama.llama_sampler_init_grammar(vocab, NESTED, b"root")


@refused(LlamaValueError, r"llama_sampler_init_grammar_lazy\(\): grammar_str nests too many parentheses")
def test_a_lazy_grammar_is_not_nested_too_deeply(vocab: Any) -> None:
    llama.llama_sampler_init_grammar_lazy(vocab, NESTED, b"root", None, 0, None, 0)


@returns(False)
def test_a_grammar_that_begins_with_itself_is_none(vocab: Any) -> bool:
    return bool(llama.llama_sampler_init_grammar(vocab, b'root ::= root "a"', b"root"))


@returns(True)
def test_a_grammar_may_have_ten_thousand_rules(vocab: Any) -> bool:
    rules = b"".join(b"r%d ::= r%d\n" % (number, number + 1) for number in range(10_000))
    return bool(llama.llama_sampler_init_grammar(vocab, b"root ::= r0\n" + rules + b'r10000 ::= "a"', b"root"))


@returns(False)
def test_a_grammar_of_huge_repetitions_is_none(vocab: Any) -> bool:
    return bool(llama.llama_sampler_init_grammar(vocab, b'root ::= ((("a"{1000}){1000}){1000}){1000}', b"root"))


@returns(False)
def test_a_grammar_without_its_root_is_none(vocab: Any) -> bool:
    return bool(llama.llama_sampler_init_grammar(vocab, b'other ::= "a"', b"root"))


@refused(LlamaValueError, r"llama_sampler_init_grammar\(\): grammar_root .+ must not be NULL")
def test_the_name_of_a_root_is_not_null(vocab: Any) -> None:
    llama.llama_sampler_init_grammar(vocab, LETTER, None)


# ---------------------------------------------------------------- triggers


@refused(LlamaValueError, r"llama_sampler_init_grammar_lazy\(\): trigger_words .+ holds NULL at 0")
def test_a_trigger_word_is_not_null(vocab: Any) -> None:
    llama.llama_sampler_init_grammar_lazy(vocab, LETTER, b"root", strings(None), 1, None, 0)


@refused(LlamaError, r"llama_sampler_init_grammar_lazy_patterns\(\): Mismatched '\(' and '\)'")
def test_a_trigger_pattern_is_a_regular_expression(vocab: Any) -> None:
    llama.llama_sampler_init_grammar_lazy_patterns(vocab, LETTER, b"root", strings(b"((("), 1, None, 0)


@refused(LlamaValueError, r"llama_sampler_init_grammar_lazy_patterns\(\): the trigger patterns are longer")
def test_a_trigger_pattern_is_not_nested_too_deeply(vocab: Any) -> None:
    pattern = b"(" * 100_000 + b"a" + b")" * 100_000
    llama.llama_sampler_init_grammar_lazy_patterns(vocab, LETTER, b"root", strings(pattern), 1, None, 0)


# ---------------------------------------------------------------- tokens


@refused(LlamaValueError, r"llama_sampler_accept\(\): ")
def test_a_grammar_does_not_accept_a_token_that_is_none(vocab: Any) -> None:
    llama.llama_sampler_accept(llama.llama_sampler_init_grammar(vocab, LETTER, b"root"), -1)


@refused(LlamaValueError, r"llama_sampler_apply\(\): .*1000000")
def test_a_grammar_is_not_applied_to_a_token_that_is_none(vocab: Any) -> None:
    array = candidates()
    array.data[2].id = 10**6
    llama.llama_sampler_apply(llama.llama_sampler_init_grammar(vocab, LETTER, b"root"), byref(array))
