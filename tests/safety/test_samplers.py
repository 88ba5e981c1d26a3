"""Samplers, chains and arrays of candidates that are not what the call needs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref
from typing import Any

import pytest

from llamacffi import LlamaAssertionError, LlamaError, LlamaValueError
from llamacffi import llama_cpp as llama
from support.cells import raises, refused, returns
from support.objects import candidates, chain_of, decode, load, user_sampler

# ---------------------------------------------------------------- no candidates

Make = Callable[[], Any]

LEFT_ALONE: dict[str, Make] = {
    "greedy": llama.llama_sampler_init_greedy,
    "dist": lambda: llama.llama_sampler_init_dist(1),
    "top_k": lambda: llama.llama_sampler_init_top_k(5),
    "min_p": lambda: llama.llama_sampler_init_min_p(0.5, 1),
    "temp": lambda: llama.llama_sampler_init_temp(0.0),
    "temp_ext": lambda: llama.llama_sampler_init_temp_ext(0.5, 0.5, 1.0),
    "xtc": lambda: llama.llama_sampler_init_xtc(1.0, 0.0, 0, 1),
    "top_n_sigma": lambda: llama.llama_sampler_init_top_n_sigma(1.0),
    "penalties": lambda: llama.llama_sampler_init_penalties(10, 64, 1.1, 0.5, 0.5),
    "dry": lambda: llama.llama_sampler_init_dry(tiny_vocabulary(), 1.0, 1.75, 2, 64, None, 0),
}
# These compute probabilities, for which llama.cpp asserts that there is a candidate.
ASSERTED: dict[str, Make] = {
    "top_p": lambda: llama.llama_sampler_init_top_p(0.5, 1),
    "typical": lambda: llama.llama_sampler_init_typical(0.5, 1),
    "mirostat": lambda: llama.llama_sampler_init_mirostat(10, 1, 5.0, 0.1, 100),
    "mirostat_v2": lambda: llama.llama_sampler_init_mirostat_v2(1, 5.0, 0.1),
    "adaptive_p": lambda: llama.llama_sampler_init_adaptive_p(0.5, 0.5, 1),
    "infill": lambda: llama.llama_sampler_init_infill(tiny_vocabulary()),
}


def tiny_vocabulary() -> Any:
    return llama.llama_model_get_vocab(load())


@pytest.mark.parametrize("name", LEFT_ALONE)
@returns(None)
def test_a_sampler_leaves_no_candidates_alone(name: str) -> object:
    return llama.llama_sampler_apply(LEFT_ALONE[name](), byref(candidates(0)))


@pytest.mark.parametrize("name", ASSERTED)
@refused(LlamaAssertionError, r"llama_sampler_apply\(\): .+cur_p->size > 0")
def test_a_sampler_has_no_probabilities_of_no_candidates(name: str) -> None:
    llama.llama_sampler_apply(ASSERTED[name](), byref(candidates(0)))


# ---------------------------------------------------------------- candidates


@refused(LlamaValueError, r"llama_sampler_apply\(\): cur_p .+ must not be NULL")
def test_a_sampler_is_not_applied_to_null() -> None:
    llama.llama_sampler_apply(llama.llama_sampler_init_greedy(), None)


@refused(LlamaValueError, r"llama_sampler_apply\(\): cur_p->data is NULL")
def test_candidates_have_data() -> None:
    array = llama.llama_token_data_array(size=10)
    llama.llama_sampler_apply(llama.llama_sampler_init_greedy(), byref(array))


@refused(LlamaValueError, r"llama_sampler_apply\(\): cur_p .+ has size = 10000000, but data holds 10")
def test_candidates_are_not_more_than_their_data() -> None:
    array = candidates(10)
    array.size = 10**7
    llama.llama_sampler_apply(llama.llama_sampler_init_greedy(), byref(array))


@returns(None)
def test_mirostat_of_a_larger_vocabulary_is_survived() -> object:
    mirostat = llama.llama_sampler_init_mirostat(10**9, 1, 5.0, 0.1, 10**9)
    return llama.llama_sampler_apply(mirostat, byref(candidates()))


@returns(None)
def test_a_bias_for_tokens_that_are_none_has_no_effect() -> object:
    bias = (llama.llama_logit_bias * 2)((10**9, 1.0), (-5, 1.0))
    return llama.llama_sampler_apply(llama.llama_sampler_init_logit_bias(10, 2, bias), byref(candidates()))


@pytest.mark.parametrize("token", [10**6, -1, 2**31 - 1, -(2**31)])
@returns(None)
def test_penalties_accept_tokens_that_are_none(token: int) -> object:
    return llama.llama_sampler_accept(llama.llama_sampler_init_penalties(10, 64, 1.1, 0.5, 0.5), token)


# ---------------------------------------------------------------- sampling


@refused(LlamaAssertionError, r"llama_sampler_sample\(\): .+cur_p.selected")
def test_a_chain_that_chooses_nothing_does_not_sample(ctx: Any) -> None:
    decode(ctx)
    llama.llama_sampler_sample(chain_of(), ctx, -1)


@refused(LlamaAssertionError, r"llama_sampler_sample\(\): .+logits != nullptr.+invalid logits id 1000000")
def test_an_output_that_is_none_is_not_sampled(ctx: Any) -> None:
    decode(ctx)
    llama.llama_sampler_sample(llama.llama_sampler_init_greedy(), ctx, 10**6)


@refused(LlamaAssertionError, r"llama_sampler_sample\(\): .+batch.logits\[1\] != true")
def test_a_token_that_asked_for_no_logits_is_not_sampled(ctx: Any) -> None:
    decode(ctx)
    llama.llama_sampler_sample(llama.llama_sampler_init_greedy(), ctx, 1)


@refused(LlamaAssertionError, r"llama_sampler_copy\(\): .+cannot copy between different sampler types")
def test_a_sampler_is_not_copied_to_one_of_another_kind() -> None:
    llama.llama_sampler_copy(llama.llama_sampler_init_top_k(3), llama.llama_sampler_init_greedy())


# ---------------------------------------------------------------- chains

OF_CHAINS: dict[str, Callable[[Any], object]] = {
    "llama_sampler_chain_n": lambda sampler: llama.llama_sampler_chain_n(sampler),
    "llama_sampler_chain_add": lambda sampler: llama.llama_sampler_chain_add(
        sampler, llama.llama_sampler_init_greedy()
    ),
    "llama_sampler_chain_remove": lambda sampler: llama.llama_sampler_chain_remove(sampler, 0),
    "llama_perf_sampler": llama.llama_perf_sampler,
}


@pytest.mark.parametrize("function", OF_CHAINS)
@refused(LlamaValueError, lambda function: rf"{function}\(\): chain .+ must be a sampler chain")
def test_a_sampler_is_no_chain(function: str) -> None:
    OF_CHAINS[function](llama.llama_sampler_init_top_k(3))


@returns([False, False, False])
def test_a_chain_has_no_member_beyond_its_last() -> object:
    chain = chain_of(llama.llama_sampler_init_greedy())
    return [bool(llama.llama_sampler_chain_get(chain, index)) for index in (1, 10**6, -(2**31))]


@returns([False, False, False])
def test_a_member_that_a_chain_has_not_is_not_taken_out() -> object:
    chain = chain_of(llama.llama_sampler_init_greedy())
    return [bool(llama.llama_sampler_chain_remove(chain, index)) for index in (-1, 1, 10**6)]


# ---------------------------------------------------------------- samplers of the caller's own


@refused(LlamaValueError, r"llama_sampler_init\(\): iface->apply must be set")
def test_a_sampler_has_a_function_that_applies_it() -> None:
    llama.llama_sampler_init(byref(llama.llama_sampler_i()), None)


@refused(LlamaValueError, r"llama_sampler_init\(\): iface .+ must not be NULL")
def test_a_sampler_has_an_interface() -> None:
    llama.llama_sampler_init(None, None)


@returns(b"(without a name)")
def test_a_sampler_without_a_name_says_so() -> object:
    return llama.llama_sampler_name(user_sampler())


@returns(b"(without a name)")
def test_a_sampler_whose_name_is_none_says_so() -> object:
    return llama.llama_sampler_name(user_sampler(name=lambda sampler: None))


@returns(b"mine")
def test_a_sampler_has_the_name_that_its_function_gives() -> object:
    return llama.llama_sampler_name(user_sampler(name=lambda sampler: b"mine"))


class Own(Exception):
    """What a function of the caller's own raises."""


def raising(*_: object) -> None:
    raise Own("mine")


CALLS: dict[str, Callable[[Any], object]] = {
    "name": llama.llama_sampler_name,
    "accept": lambda sampler: llama.llama_sampler_accept(sampler, 1),
    "apply": lambda sampler: llama.llama_sampler_apply(sampler, byref(candidates())),
    "reset": llama.llama_sampler_reset,
    "clone": llama.llama_sampler_clone,
    "free": llama.llama_sampler_free,
}


@pytest.mark.parametrize("function", CALLS)
@raises(Own, "mine")
def test_what_a_function_of_a_sampler_raises_comes_out(function: str) -> None:
    CALLS[function](user_sampler(**{function: raising}))


@pytest.mark.parametrize("function", ["accept", "apply", "reset", "clone", "free"])
@raises(Own, "mine")
def test_what_a_member_of_a_chain_raises_comes_out(function: str) -> None:
    CALLS[function](chain_of(user_sampler(**{function: raising})))


def address(sampler: Any) -> int:
    return ctypes.addressof(sampler.contents)


def in_a_chain() -> int:
    member = llama.llama_sampler_init_greedy()
    chain_of(member)
    return address(member)


def freed() -> int:
    sampler = llama.llama_sampler_init_greedy()
    llama.llama_sampler_free(sampler)
    return address(sampler)


NO_COPIES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "none": (lambda sampler: None, "no sampler"),
    "garbage": (lambda sampler: 0xDEAD0000, "what is no live sampler"),
    "itself": (address, "the sampler itself"),
    "a freed one": (lambda sampler: freed(), "what is no live sampler"),
    "a model": (lambda sampler: load(), "what is no live sampler"),
    "a member": (lambda sampler: in_a_chain(), "a sampler that belongs to a chain"),
}
SAID = r"llama_sampler_clone\(\): clone\(\) of a sampler of the caller's own gave "


@pytest.mark.parametrize("name", NO_COPIES)
@refused(LlamaError, lambda name: SAID + NO_COPIES[name][1])
def test_a_copy_is_a_sampler_of_its_own(name: str) -> None:
    llama.llama_sampler_clone(user_sampler(clone=NO_COPIES[name][0]))


@pytest.mark.parametrize("name", NO_COPIES)
@refused(LlamaError, lambda name: SAID + NO_COPIES[name][1])
def test_a_chain_is_copied_with_members_that_are_samplers(name: str) -> None:
    llama.llama_sampler_clone(chain_of(user_sampler(clone=NO_COPIES[name][0])))


@returns([b"copy", 1])
def test_a_chain_is_copied_with_the_copies_that_its_members_give() -> object:
    def copy(sampler: object) -> int:
        return address(user_sampler(name=lambda sampler: b"copy"))

    original = chain_of(user_sampler(clone=copy))
    chain = llama.llama_sampler_clone(original)
    llama.llama_sampler_free(original)
    llama.llama_sampler_apply(chain, byref(candidates()))
    return [llama.llama_sampler_name(llama.llama_sampler_chain_get(chain, 0)), llama.llama_sampler_chain_n(chain)]


@returns(b"mine")
def test_a_sampler_without_data_needs_no_function_to_be_copied() -> object:
    original = user_sampler(name=lambda sampler: b"mine")
    copy = llama.llama_sampler_clone(original)
    llama.llama_sampler_free(original)
    return llama.llama_sampler_name(copy)


@returns(None)
def test_the_times_of_a_chain_with_such_a_member_are_printed() -> object:
    return llama.llama_perf_sampler_print(chain_of(user_sampler(name=raising)))


@raises(Own, "mine")
def test_a_context_gives_back_what_a_member_of_its_sampler_raises(ctx: Any) -> None:
    llama.llama_set_sampler(ctx, 0, chain_of(user_sampler(backend_init=raising, backend_apply=raising)))
