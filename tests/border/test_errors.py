"""What ends the process with ctypes must end in an exception here, and leave a usable interpreter.

Each case runs in a child process: it prints the exception's type and text, then loads and decodes again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutated_model
import pytest
import tiny_model

from llamacffi import LlamaAssertionError, LlamaError, LlamaValueError, llama_cpp

# After what may have killed the process: what it raised, and whether everything goes on.
CATCH = """
def report(function, *given):
    try:
        print("returned", function(*given))
    except Exception as error:
        print(type(error).__name__, error)

model = load()
ctx = context_of(model)
vocab = llama_cpp.llama_model_get_vocab(model)
"""
GOES_ON = """
assert decode(context_of(load()), [1, 5, 6]) == 0
print("goes on")
"""

# What is done, and what its message must hold after the exception's type.
DEADLY = {
    "sampling without logits": (
        "report(llama_cpp.llama_sampler_sample, llama_cpp.llama_sampler_init_greedy(), ctx, -1)",
        "LlamaAssertionError llama_sampler_sample(): ",
        "GGML_ASSERT(logits != nullptr) failed",
    ),
    "sampling from a token that asked for no logits": (
        "decode(ctx, [1, 5, 6])\nreport(llama_cpp.llama_sampler_sample, llama_cpp.llama_sampler_init_greedy(), ctx, 1)",
        "LlamaAssertionError llama_sampler_sample(): ",
        "batch.logits[1] != true",
    ),
    "sampling by a chain that chooses nothing": (
        "decode(ctx, [1, 5, 6])\n"
        "chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())\n"
        "report(llama_cpp.llama_sampler_sample, chain, ctx, -1)",
        "LlamaAssertionError llama_sampler_sample(): ",
        "cur_p.selected",
    ),
    "a token id that is out of range": (
        "report(llama_cpp.llama_vocab_get_text, vocab, 10**6)",
        "LlamaValueError llama_vocab_get_text(): ",
        "1000000",
    ),
    "a token id that is negative": (
        "report(llama_cpp.llama_vocab_get_text, vocab, -1)",
        "LlamaValueError llama_vocab_get_text(): ",
        "",
    ),
    "the piece of a token id that is out of range": (
        "report(llama_cpp.llama_token_to_piece, vocab, 10**6, bytearray(8), 8, 0, False)",
        "LlamaValueError llama_token_to_piece(): ",
        "",
    ),
    "an operation that ggml has not": (
        "report(llama_cpp.ggml_op_name, 9999)",
        "LlamaValueError ggml_op_name(): op (enum ggml_op) ",
        "9999",
    ),
    "more tokens than the batch has": (
        "batch = llama_cpp.llama_batch_get_one(np.zeros(3, np.int32), 3)\n"
        "batch.n_tokens = 10**6\n"
        "report(llama_cpp.llama_decode, ctx, batch)",
        "LlamaValueError llama_decode(): batch (struct llama_batch) ",
        "n_tokens = 1000000",
    ),
    "a batch that is freed": (
        "batch = llama_cpp.llama_batch_init(4, 0, 1)\n"
        "batch.n_tokens = 2\n"
        "llama_cpp.llama_batch_free(batch)\n"
        "report(llama_cpp.llama_decode, ctx, batch)",
        "LlamaValueError llama_decode(): batch (struct llama_batch) ",
        "freed",
    ),
    "a context that is freed": (
        "llama_cpp.llama_free(ctx)\nreport(llama_cpp.llama_n_ctx, ctx)",
        "LlamaValueError llama_n_ctx(): ctx (const struct llama_context *) ",
        "freed",
    ),
    "a grammar pushed past its end": (
        "grammar = llama_cpp.llama_sampler_init_grammar(vocab, b'root ::= \"a\"', b'root')\n"
        "llama_cpp.llama_sampler_accept(grammar, tiny_model.BYTES + ord('a'))\n"
        "report(llama_cpp.llama_sampler_accept, grammar, tiny_model.BYTES + ord('a'))\n"
        "llama_cpp.llama_sampler_free(grammar)",
        "LlamaError llama_sampler_accept(): ",
        "empty grammar stack",
    ),
}


@pytest.mark.parametrize(("code", "start", "inside"), DEADLY.values(), ids=DEADLY)
def test_what_kills_with_ctypes_raises(code: str, start: str, inside: str, output_of: Callable[..., str]) -> None:
    printed = output_of(CATCH + code + GOES_ON)
    assert printed.startswith(start)
    assert inside in printed
    assert printed.endswith("goes on\n")


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

# A child may have 100 MB more than it has.
LIMIT = """
import resource
pages = int(open("/proc/self/statm").read().split()[0])
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 100_000_000, hard))
"""

HUNGRY = {
    "llama_sampler_init_penalties": "report(llama_cpp.llama_sampler_init_penalties, 0, 2**31 - 1, 1.1, 0.0, 0.0)",
    "llama_tokenize": "text = b'x' * 20_000_000\n"
    "report(llama_cpp.llama_tokenize, vocab, text, len(text), None, 0, True, True)",
}


@pytest.mark.parametrize("function", HUNGRY)
def test_memory_that_c_cannot_get_is_a_memory_error(function: str, output_of: Callable[..., str]) -> None:
    printed = output_of(CATCH + LIMIT + HUNGRY[function] + GOES_ON)
    assert printed.startswith(f"MemoryError {function}(): ")
    assert printed.endswith("goes on\n")


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


@pytest.mark.parametrize(("function", "kind", "seed"), DAMAGED)
def test_a_damaged_file_that_fails_an_assertion_raises(
    function: str, kind: str, seed: int, tiny_path: Path, tmp_path: Path, output_of: Callable[..., str]
) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(mutated_model.mutate(tiny_path, kind, seed))
    code = CATCH + "report(lambda: decode(context_of(load(sys.argv[2].encode())), [1, 5, 6]))" + GOES_ON
    printed = output_of(code, damaged)
    assert printed.startswith(f"LlamaAssertionError {function}(): ")
    assert "GGML_ASSERT" in printed
    assert printed.endswith("goes on\n")


def test_a_damaged_file_that_llama_cpp_notices_is_no_model(tiny_path: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny_path.read_bytes()[:1000])
    params = llama_cpp.llama_model_default_params()
    assert llama_cpp.llama_model_load_from_file(os.fsencode(damaged), params) is None


# ---------------------------------------------------------------- after an assertion


def test_another_context_of_the_model_decodes_correctly_after_an_assertion(output_of: Callable[..., str]) -> None:
    """The expected token is what a context says that was made and used before anything failed."""
    code = """
model = load()
untouched, failing, later = (context_of(model) for _ in range(3))
assert decode(untouched, [1, 5, 6]) == 0
expected = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(untouched, -1), (tiny_model.N_VOCAB,)).copy()
try:
    llama_cpp.llama_sampler_sample(llama_cpp.llama_sampler_init_greedy(), failing, -1)
except llamacffi.LlamaAssertionError:
    print("failed")
assert decode(later, [1, 5, 6]) == 0
logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(later, -1), (tiny_model.N_VOCAB,))
print("same", np.array_equal(logits, expected))
llama_cpp.llama_free(failing)
print("freed")
"""
    assert output_of(code) == "failed\nsame True\nfreed\n"


# A decode that fails an assertion: the eps of this file is no positive number. It needs one thread: on a worker
# thread of the engine nothing can catch what is thrown.
BROKEN = """
ctx = context_of(load(sys.argv[2].encode()))
try:
    decode(ctx, [1, 5, 6])
except llamacffi.LlamaAssertionError:
    print("failed")
"""


@pytest.fixture
def deadly_to_decode(tiny_path: Path, tmp_path: Path) -> Path:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(mutated_model.mutate(tiny_path, *SEEDS["llama_decode"][0]))
    return damaged


@pytest.mark.parametrize(
    "call", ["decode(ctx, [1, 5])", "llama_cpp.llama_get_logits_ith(ctx, -1)", "llama_cpp.llama_n_ctx(ctx)"]
)
def test_a_context_whose_decode_failed_an_assertion_is_only_to_be_freed(
    call: str, deadly_to_decode: Path, output_of: Callable[..., str]
) -> None:
    code = f"""
try:
    {call}
except llamacffi.LlamaError as error:
    print("broken" in str(error), "freed" in str(error))
llama_cpp.llama_free(ctx)
print("freed")
"""
    assert output_of(BROKEN + code, deadly_to_decode) == "failed\nTrue True\nfreed\n"


def test_a_new_context_at_a_broken_one_s_address_works(deadly_to_decode: Path, output_of: Callable[..., str]) -> None:
    code = """
llama_cpp.llama_free(ctx)
model = load()
contexts = [context_of(model) for _ in range(50)]
print(ctx in contexts, {decode(context, [1, 5]) for context in contexts})
"""
    printed = output_of(BROKEN + code, deadly_to_decode)
    assert printed in ("failed\nTrue {0}\n", "failed\nFalse {0}\n")


def test_decoding_with_the_wrong_token_is_refused_by_llama_cpp_itself(context: Any) -> None:
    tokens = (llama_cpp.llama_token * 1)(tiny_model.N_VOCAB)
    assert llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, 1)) == -1
