"""Grammars and their triggers that cannot be parsed, or that would take the stack or the memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from ctypes import byref
from typing import Any

import pytest

from llamacffi import LlamaError, LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import refused, returns
from support.objects import candidates, strings
from support.tiny_model import N_VOCAB

LETTER = b'root ::= "a"'
SMALL_STACK = 256 * 1024


def grammar(text: bytes, vocab: Any) -> bool:
    return bool(llama.llama_sampler_init_grammar(vocab, text, b"root"))


def on_a_small_stack(function: Callable[[], object]) -> object:
    """Call the function on a thread with a stack of 256 KiB; return or raise what it does."""
    outcomes: list[object] = []

    def run() -> None:
        try:
            outcomes.append(function())
        except Exception as error:
            outcomes.append(error)

    before = threading.stack_size(SMALL_STACK)
    thread = threading.Thread(target=run)
    thread.start()
    threading.stack_size(before)
    thread.join()
    if isinstance(outcomes[0], Exception):
        raise outcomes[0]
    return outcomes[0]


# ---------------------------------------------------------------- depth

TOO_DEEP = {
    "open": b"root ::= " + b"(" * 1_000_000,
    "closed": b"root ::= " + b"(" * 1_000_000 + b'"a"' + b")" * 1_000_000,
    "behind a comment": b'# "\nroot ::= ' + b"(" * 1_000_000,
    "behind a class": b'root ::= [\\]"(] ' + b"(" * 1_000_000,
}
NOT_DEEP = {
    "nested": b"root ::= " + b"(" * 20_000 + b'"a"' + b")" * 20_000,
    "in a comment": b'root ::= "a" # ' + b"(" * 1_000_000,
    "in a string": b'root ::= "' + b"(" * 1_000_000 + b'"',
    "in a class": b"root ::= [" + b"(" * 1_000_000 + b"]",
    "one after the other": b"root ::= " + b'("a") ' * 10_000,
}


@pytest.mark.parametrize("name", TOO_DEEP)
@refused(LlamaValueError, r"llama_sampler_init_grammar\(\): grammar_str nests its parentheses too deeply")
def test_a_grammar_is_not_nested_too_deeply(name: str, vocab: Any) -> None:
    grammar(TOO_DEEP[name], vocab)


@refused(LlamaValueError, r"llama_sampler_init_grammar_lazy\(\): grammar_str nests its parentheses too deeply")
def test_a_lazy_grammar_is_not_nested_too_deeply(vocab: Any) -> None:
    llama.llama_sampler_init_grammar_lazy(vocab, TOO_DEEP["open"], b"root", None, 0, None, 0)


@pytest.mark.parametrize("name", NOT_DEEP)
@returns(True)
def test_parentheses_are_counted_as_they_are_parsed(name: str, vocab: Any) -> bool:
    return grammar(NOT_DEEP[name], vocab)


@pytest.mark.parametrize("name", NOT_DEEP)
@returns(True)
def test_a_small_stack_is_enough_for_a_grammar(name: str, vocab: Any) -> object:
    return on_a_small_stack(lambda: grammar(NOT_DEEP[name], vocab))


@refused(LlamaValueError, r"llama_sampler_init_grammar\(\): grammar_str nests its parentheses too deeply")
def test_a_small_stack_changes_nothing_for_what_is_too_deep(vocab: Any) -> None:
    on_a_small_stack(lambda: grammar(TOO_DEEP["open"], vocab))


@returns(None)
def test_a_nested_grammar_is_reset_on_a_small_stack(vocab: Any) -> object:
    """A reset parses again."""
    sampler = llama.llama_sampler_init_grammar(vocab, NOT_DEEP["nested"], b"root")
    return on_a_small_stack(lambda: llama.llama_sampler_reset(sampler))


# ---------------------------------------------------------------- rules


def chain(count: int, rule: bytes) -> bytes:
    """Make rules of which each refers to the next by `%d`."""
    rules = [rule.replace(b"%d", b"r%d" % (number + 1)) for number in range(count)]
    lines = [b"r%d ::= %s\n" % (number, text) for number, text in enumerate(rules)]
    return b"root ::= r0\n" + b"".join(lines) + b'r%d ::= "a"' % count


@returns(True)
def test_a_grammar_may_be_a_chain_of_two_hundred_thousand_rules(vocab: Any) -> bool:
    return grammar(chain(200_000, b"%d"), vocab)


@returns(True)
def test_a_chain_of_rules_may_be_parsed_on_a_small_stack(vocab: Any) -> object:
    return on_a_small_stack(lambda: grammar(chain(20_000, b"%d"), vocab))


@returns(True)
def test_a_rule_that_is_reached_by_many_ways_is_looked_at_once(vocab: Any) -> bool:
    """Two ways to each rule are 2**60 ways to the last."""
    return grammar(chain(60, b"%d | %d"), vocab)


@refused(LlamaValueError, r"llama_sampler_init_grammar\(\): the grammar is too ambiguous")
def test_a_grammar_has_not_exponentially_many_beginnings(vocab: Any) -> None:
    grammar(chain(60, b'%d "a" | %d "b"'), vocab)


@refused(LlamaValueError, r"llama_sampler_init_grammar\(\): the grammar is too ambiguous, or begins with itself")
def test_a_grammar_does_not_begin_with_itself_behind_an_empty_rule(vocab: Any) -> None:
    """llama.cpp looks one rule deep for what may be empty."""
    grammar(b'root ::= a root "x"\na ::= b\nb ::= ', vocab)


@returns(True)
def test_optional_items_may_follow_each_other(vocab: Any) -> bool:
    return grammar(b"root ::= " + b'"a"? ' * 500 + b'"x"', vocab)


@returns(True)
def test_a_copy_of_a_grammar_takes_what_the_grammar_takes(vocab: Any) -> bool:
    grammar_of_a = llama.llama_sampler_init_grammar(vocab, b'root ::= [a-f] root | ("g" [h-z]+)', b"root")
    original, copied = candidates(N_VOCAB), candidates(N_VOCAB)
    llama.llama_sampler_apply(llama.llama_sampler_clone(grammar_of_a), byref(copied))
    llama.llama_sampler_apply(grammar_of_a, byref(original))
    logits = [one.logit for one in copied.data[:N_VOCAB]]
    return logits == [one.logit for one in original.data[:N_VOCAB]] and len(set(logits)) > 1


# ---------------------------------------------------------------- repetitions

TOO_MUCH = {
    "a long literal": b'root ::= "' + b"a" * 1_000_000 + b'"{2000}',
    "an optional long literal": b'root ::= "' + b"a" * 1_000_000 + b'"{0,2000}',
    "many repetitions": b"root ::= " + b'"aaaaaaaaaaaaaaaa"{2000} ' * 20_000,
}


@pytest.mark.parametrize("name", TOO_MUCH)
@refused(LlamaValueError, r"llama_sampler_init_grammar\(\): grammar_str repeats or names so much")
def test_the_rules_of_a_grammar_take_no_more_than_they_may(name: str, vocab: Any) -> None:
    grammar(TOO_MUCH[name], vocab)


@refused(LlamaValueError, r"llama_sampler_init_grammar\(\): grammar_str repeats or names so much")
def test_the_names_of_rules_take_no_more_than_they_may(vocab: Any) -> None:
    """Each group is a rule whose name begins with that of the rule it is in."""
    grammar(b'root ::= "a"\n' + b"r" * 100_000 + b" ::= " + b'("a") ' * 20_000, vocab)


@refused(LlamaValueError, r"llama_sampler_init_grammar\(\): grammar_str repeats from 2 to 1 times, which is fewer")
def test_a_repetition_does_not_end_below_its_beginning(vocab: Any) -> None:
    grammar(b'root ::= "a"{2,1}', vocab)


@returns(True)
def test_a_repetition_may_end_where_it_begins(vocab: Any) -> bool:
    return grammar(b'root ::= "a"{2,2} "b"{0,1} "c"{3,}', vocab)


@returns(False)
def test_a_grammar_that_begins_with_itself_is_none(vocab: Any) -> bool:
    return bool(llama.llama_sampler_init_grammar(vocab, b'root ::= root "a"', b"root"))


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


@refused(LlamaValueError, r"llama_sampler_init_grammar_lazy_patterns\(\): a trigger pattern is longer than 65536")
def test_a_trigger_pattern_is_not_too_long(vocab: Any) -> None:
    lazy(b"(" * 50_000 + b"a" + b")" * 50_000, vocab)


def lazy(pattern: bytes, vocab: Any) -> Any:
    return llama.llama_sampler_init_grammar_lazy_patterns(vocab, LETTER, b"root", strings(pattern), 1, None, 0)


def accepting(pattern: bytes, vocab: Any, count: int = 1) -> bool:
    """Let a lazy grammar accept tokens that do not trigger it."""
    sampler = lazy(pattern, vocab)
    for _ in range(count):
        llama.llama_sampler_accept(sampler, TOKEN)
    return bool(sampler)


TOKEN = 270
PATTERNS = {
    "nested": b"(" * 30_000 + b"q" + b")" * 30_000,
    "alternatives": b"q|" * 10_000 + b"q",
    "optional": b"q?" * 30_000 + b"x",
    "repeated": b"(q{100}){100}x",
    "of words": b"[\\s\\S]*?(tool)[\\s\\S]*",
}


@pytest.mark.parametrize("name", PATTERNS)
@returns(True)
def test_a_trigger_pattern_is_matched(name: str, vocab: Any) -> bool:
    return accepting(PATTERNS[name], vocab, 3)


@pytest.mark.parametrize("name", PATTERNS)
@returns(True)
def test_a_trigger_pattern_is_matched_on_a_small_stack(name: str, vocab: Any) -> object:
    return on_a_small_stack(lambda: accepting(PATTERNS[name], vocab, 3))


@returns(True)
def test_a_trigger_pattern_is_matched_with_a_long_text(vocab: Any) -> object:
    """A match recurses by character."""
    return on_a_small_stack(lambda: accepting(b"^[\\s\\S]*tool$", vocab, 3000))


# ---------------------------------------------------------------- tokens


@refused(LlamaValueError, r"llama_sampler_accept\(\): ")
def test_a_grammar_does_not_accept_a_token_that_is_none(vocab: Any) -> None:
    llama.llama_sampler_accept(llama.llama_sampler_init_grammar(vocab, LETTER, b"root"), -1)


@refused(LlamaValueError, r"llama_sampler_apply\(\): a token, an index or a name is not there")
def test_a_grammar_is_not_applied_to_a_token_that_is_none(vocab: Any) -> None:
    array = candidates()
    array.data[2].id = 10**6
    llama.llama_sampler_apply(llama.llama_sampler_init_grammar(vocab, LETTER, b"root"), byref(array))
