"""Count how mistakes end, through llama-cpp-python's ctypes module and here: each mistake in a process of its own.

A mistake ends in an exception (or in what C itself answers to it), in the end of the process, or is silently wrong: the
program goes on with what cannot be right. The mistakes are those of tests/safety/test_mistakes.py, which says what each
raises here.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import gc
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.workers import ROOT
from llamacffi import default_model

EXCEPTION, DEATH, WRONG = "exception", "process ended", "silently wrong"
TOKEN = 1000  # any token that is text


class Program:
    """What the mistakes begin with: objects that are made when they are first wanted."""

    def __init__(self, api: Any, model: Path) -> None:
        self.api, self.path = api, model

    @functools.cached_property
    def model(self) -> Any:
        return self.api.llama_model_load_from_file(bytes(self.path), self.api.llama_model_default_params())

    @functools.cached_property
    def vocab(self) -> Any:
        return self.api.llama_model_get_vocab(self.model)

    @functools.cached_property
    def context(self) -> Any:
        params = self.api.llama_context_default_params()
        params.n_ctx, params.n_threads, params.n_threads_batch = 64, 1, 1
        return self.api.llama_init_from_model(self.model, params)

    def decode(self, *tokens: int) -> int:
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        return int(self.api.llama_decode(self.context, self.api.llama_batch_get_one(array, len(tokens))))

    def batch(self, n_tokens: int) -> Any:
        """Make a batch with one token in it."""
        batch = self.api.llama_batch_init(n_tokens, 0, 1)
        batch.n_tokens = 1
        batch.token[0], batch.pos[0], batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = TOKEN, 0, 1, 0, 1
        return batch


# ---------------------------------------------------------------- the mistakes, each True where what it gave is right

MISTAKES: list[Callable[[Program], object]] = []
mistake = MISTAKES.append


@mistake
def null_for_a_context(of: Program) -> object:
    return of.api.llama_n_ctx(None)


@mistake
def a_context_that_was_freed(of: Program) -> object:
    of.api.llama_free(of.context)
    return of.api.llama_n_ctx(of.context)


@mistake
def a_context_freed_twice(of: Program) -> object:
    of.api.llama_free(of.context)
    return of.api.llama_free(of.context)


@mistake
def a_batch_freed_twice(of: Program) -> object:
    batch = of.batch(1)
    of.api.llama_batch_free(batch)
    return of.api.llama_batch_free(batch)


@mistake
def a_model_freed_before_its_context(of: Program) -> object:
    _ = of.context
    of.api.llama_model_free(of.model)
    return of.decode(TOKEN) == 0 and of.api.llama_free(of.context) is None


@mistake
def a_sampler_freed_that_a_chain_took(of: Program) -> object:
    chain = of.api.llama_sampler_chain_init(of.api.llama_sampler_chain_default_params())
    greedy = of.api.llama_sampler_init_greedy()
    of.api.llama_sampler_chain_add(chain, greedy)
    of.api.llama_sampler_free(greedy)
    return of.api.llama_sampler_free(chain)


@mistake
def a_buffer_shorter_than_its_length(of: Program) -> object:
    text = b"the cat sat on the mat, and the dog beside it " * 20
    return of.api.llama_tokenize(of.vocab, text, len(text), (ctypes.c_int32 * 2)(), 10_000, True, True)


@mistake
def more_tokens_than_the_batch_holds(of: Program) -> object:
    batch = of.batch(4)
    batch.n_tokens = 100_000
    return of.api.llama_decode(of.context, batch)


@mistake
def sampling_without_logits(of: Program) -> object:
    return of.api.llama_sampler_sample(of.api.llama_sampler_init_greedy(), of.context, -1)


@mistake
def a_token_out_of_range(of: Program) -> object:
    return of.api.llama_vocab_get_text(of.vocab, 10**8)


@mistake
def a_grammar_pushed_past_its_end(of: Program) -> object:
    grammar = of.api.llama_sampler_init_grammar(of.vocab, b'root ::= "a"', b"root")
    token = (ctypes.c_int32 * 4)()
    of.api.llama_tokenize(of.vocab, b"a", 1, token, 4, False, False)
    of.api.llama_sampler_accept(grammar, token[0])
    return of.api.llama_sampler_accept(grammar, token[0])


@mistake
def a_log_callback_without_a_name(of: Program) -> object:
    of.api.llama_log_set(of.api.llama_log_callback(lambda *_: None), None)
    gc.collect()
    return of.model is not None


@mistake
def a_model_for_a_context(of: Program) -> object:
    return of.api.llama_n_ctx(of.model)


@mistake
def a_state_longer_than_its_buffer(of: Program) -> object:
    return of.api.llama_state_get_data(of.context, (ctypes.c_uint8 * 10)(), 10**6)


@mistake
def a_file_that_is_not_there(of: Program) -> object:
    return of.api.llama_model_load_from_file(b"/nonexistent", of.api.llama_model_default_params()) is None


@mistake
def a_float_for_an_integer(of: Program) -> object:
    return of.api.llama_vocab_get_text(of.vocab, 1.5)


@mistake
def too_few_arguments(of: Program) -> object:
    return of.api.llama_tokenize(of.vocab, b"a")


@mistake
def another_struct(of: Program) -> object:
    return of.api.llama_init_from_model(of.model, of.api.llama_model_default_params())


@mistake
def a_token_beyond_the_vocabulary(of: Program) -> object:
    return of.decode(10**8) == -1


@mistake
def a_number_beyond_its_type(of: Program) -> object:
    return of.api.llama_vocab_get_text(of.vocab, 2**40)


@mistake
def an_exception_in_a_callback(of: Program) -> object:
    callback = of.api.ggml_abort_callback(lambda _: 1 // 0)
    of.api.llama_set_abort_callback(of.context, callback, None)
    return of.decode(TOKEN)


# ---------------------------------------------------------------- how they end


def name(one: Callable[[Program], object]) -> str:
    return one.__name__.replace("_", " ")


def make(number: int, peer: Path | None, model: Path) -> None:
    """Make one mistake in this process, and say how it ended, if it can."""
    if peer:
        from benchmarks.calls import import_peer

        api = import_peer(peer)
    else:
        from llamacffi import llama_cpp as api
    api.llama_backend_init()
    try:
        right = MISTAKES[number](Program(api, model)) is True
    except Exception:
        right = True
    print(EXCEPTION if right else WRONG, flush=True)


def end_of(number: int, peer: Path | None, model: Path) -> str:
    options = ["--peer", str(peer)] if peer else []
    command = [sys.executable, "-m", "benchmarks.mistakes", "--make", str(number), "--model", str(model), *options]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = child.stdout.strip().splitlines()
    return said[-1] if child.returncode == 0 and said else DEATH


def ends(contenders: dict[str, Path | None], model: Path) -> dict[str, list[str]]:
    """Make all mistakes through each contender: the folder of a llama_cpp package, or None for this one."""
    return {who: [end_of(i, peer, model) for i in range(len(MISTAKES))] for who, peer in contenders.items()}


def show(ends: dict[str, list[str]]) -> None:
    print(f"{'mistake':40}" + "".join(f"{who:>18}" for who in ends))
    for number, one in enumerate(MISTAKES):
        print(f"{name(one):40}" + "".join(f"{all_ends[number]:>18}" for all_ends in ends.values()))
    for who, all_ends in ends.items():
        counted = Counter(all_ends)
        print(f"\n{who}: " + ", ".join(f"{end}: {counted[end]}" for end in (EXCEPTION, DEATH, WRONG)), end="")
    good = ends["llamacffi"].count(EXCEPTION) == len(MISTAKES)
    print(f"\n\n{'met   ' if good else 'MISSED'}  no mistake here ends the process or goes on silently")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ctypes", "--peer", type=Path, dest="peer", help="the folder of the installed llama_cpp")
    parser.add_argument("--model", type=Path, help="a GGUF file (default: the demo's)")
    parser.add_argument("--make", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    model = given.model or default_model.model_path()
    if given.make is not None:
        make(given.make, given.peer, model)
        return
    contenders = {"ctypes": given.peer.absolute()} if given.peer else {}
    show(ends({**contenders, "llamacffi": None}, model))


if __name__ == "__main__":
    main()
