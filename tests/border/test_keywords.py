"""Arguments by name: each function takes them as a Python function with the header's parameters would."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from llamacffi import LlamaValueError, _native, llama_cpp

NAMES = {name: list(inspect.signature(function).parameters) for name, function in _native.functions.items()}


def in_python(function: str) -> Callable[..., None]:
    """A Python function with the same name and parameters."""
    scope: dict[str, Any] = {}
    exec(f"def {function}({', '.join(NAMES[function])}): pass", scope)
    made: Callable[..., None] = scope[function]
    return made


def complaint(call: Callable[[], object]) -> str:
    with pytest.raises(TypeError) as raised:
        call()
    return str(raised.value)


def test_the_names_are_those_of_the_c_prototype() -> None:
    for name, names in NAMES.items():
        prototype = inspect.getdoc(_native.functions[name]) or ""
        for parameter in names:
            assert re.search(rf"\b{parameter.rstrip('_')}\b", prototype) or re.fullmatch(r"arg\d", parameter), (
                name,
                parameter,
            )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_function_takes_every_parameter_by_name() -> None:
    """What no function takes is refused by the first parameter that is converted, with the same words."""
    wrong = object()
    for name, names in NAMES.items():
        if names:
            function = _native.functions[name]
            by_position = complaint(lambda: function(*[wrong] * len(names)))  # noqa: B023
            by_name = complaint(lambda: function(**dict.fromkeys(reversed(names), wrong)))  # noqa: B023
            mixed = complaint(lambda: function(wrong, **dict.fromkeys(names[1:], wrong)))  # noqa: B023
            assert by_position == by_name == mixed


def test_names_in_any_order_find_their_places(vocab: Any) -> None:
    tokens = (llama_cpp.llama_token * 8)()
    given = {"parse_special": True, "add_special": False, "n_tokens_max": 8, "tokens": tokens, "text_len": 5}
    n = llama_cpp.llama_tokenize(vocab, text=b"Hello", **given)
    expected = (llama_cpp.llama_token * 8)()
    assert n == llama_cpp.llama_tokenize(vocab, b"Hello", 5, expected, 8, False, True)
    assert list(tokens) == list(expected)


def test_a_name_that_the_program_puts_together_is_the_same(context: Any) -> None:
    """It is no interned string."""
    assert llama_cpp.llama_n_ctx(**{"".join(["c", "t", "x"]): context}) == llama_cpp.llama_n_ctx(context)


def test_the_documented_name_works_beside_the_header_s() -> None:
    llama_cpp.llama_numa_init(numa_strategy=llama_cpp.GGML_NUMA_STRATEGY_DISABLED)
    llama_cpp.llama_numa_init(numa=llama_cpp.GGML_NUMA_STRATEGY_DISABLED)
    assert "multiple values for argument 'numa'" in complaint(lambda: llama_cpp.llama_numa_init(0, numa_strategy=0))


def test_a_keyword_argument_is_checked_as_any(vocab: Any) -> None:
    given = {"vocab": vocab, "token": 5, "buf": bytearray(4), "lstrip": 0, "special": False}
    with pytest.raises(LlamaValueError, match=r"buf .* holds 4"):
        llama_cpp.llama_token_to_piece(length=64, **given)


FUNCTION = "llama_token_to_piece"
CASES: dict[str, tuple[tuple[object, ...], dict[str, object]]] = {
    "none": ((), {}),
    "one is missing": ((1, 2, 3, 4, 5), {}),
    "two are missing": ((1, 2, 3), {"lstrip": 0}),
    "one is too many": ((1, 2, 3, 4, 5, 6, 7), {}),
    "one is too many, and one named": ((1, 2, 3, 4, 5, 6, 7), {"lstrip": 0}),
    "twice": ((1,), {"vocab": 1, "token": 2, "buf": 3, "length": 4, "lstrip": 5, "special": 6}),
    "unknown": ((1, 2, 3, 4, 5), {"nothing_like_it": 6}),
    "unknown, and one missing": ((1, 2), {"nothing_like_it": 6}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_call_is_refused_in_python_s_own_words(case: str) -> None:
    positional, named = CASES[case]
    expected = complaint(lambda: in_python(FUNCTION)(*positional, **named))
    assert complaint(lambda: _native.functions[FUNCTION](*positional, **named)) == expected


@pytest.mark.parametrize("function", ["llama_backend_free", "llama_n_ctx"])
def test_so_is_one_of_a_function_with_few_parameters(function: str) -> None:
    for positional in ((1, 2), (1, 2, 3)):
        expected = complaint(lambda: in_python(function)(*positional))  # noqa: B023
        assert complaint(lambda: _native.functions[function](*positional)) == expected  # noqa: B023


def test_a_parameter_that_is_one_of_python_s_words_has_an_underscore() -> None:
    given = {"ctx": None, "as": None, "b": None, "ids": None}
    by_c_s_name = complaint(lambda: llama_cpp.ggml_mul_mat_id(**{**given, "ctx": 1.5}))
    assert "as_" in NAMES["ggml_mul_mat_id"]
    assert by_c_s_name == complaint(lambda: llama_cpp.ggml_mul_mat_id(ctx=1.5, as_=None, b=None, ids=None))


def test_a_misspelled_name_is_told_the_nearest() -> None:
    said = complaint(lambda: llama_cpp.llama_n_ctx(ctxt=1))
    assert said == "llama_n_ctx() got an unexpected keyword argument 'ctxt'. Did you mean 'ctx'?"


def test_references_of_what_was_given_by_name_are_given_back() -> None:
    import sys

    given = object()
    before = sys.getrefcount(given)
    for _ in range(100):
        complaint(lambda: llama_cpp.llama_n_ctx(ctx=given))
        complaint(lambda: llama_cpp.llama_n_ctx(ctx=given, other=given))
    assert sys.getrefcount(given) == before
