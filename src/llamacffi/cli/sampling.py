"""How the next token is chosen: llama.cpp's samplers in llama.cpp's order, by its own option names and defaults."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from llamacffi import json_schema, llama_cpp
from llamacffi.cli import CommandError, engine

ROOT = "root"


def _option(*names: str, metavar: str = "N", **more: Any) -> Any:
    return typer.Option(*names, metavar=metavar, **more)


@dataclasses.dataclass(frozen=True)
class Sampling:
    """What the chain of samplers is made of."""

    temp: Annotated[float, _option("--temp", help="Temperature; 0: the likeliest.")] = 0.8
    top_k: Annotated[int, _option("--top-k", help="Only the N likeliest; 0: all.")] = 40
    top_p: Annotated[float, _option("--top-p", help="The likeliest up to this sum.")] = 0.95
    min_p: Annotated[float, _option("--min-p", help="At least N of the likeliest.")] = 0.05
    repeat_penalty: Annotated[float, _option("--repeat-penalty", help="Against repeating; 1: off.")] = 1.0
    repeat_last_n: Annotated[int, _option("--repeat-last-n", min=0, help="Looks at the last N tokens.")] = 64
    presence_penalty: Annotated[float, _option("--presence-penalty", help="Against used tokens; 0: off.")] = 0.0
    frequency_penalty: Annotated[float, _option("--frequency-penalty", help="For each use; 0: off.")] = 0.0
    seed: Annotated[int, _option("-s", "--seed", help="-1: another each time.")] = -1
    grammar: Annotated[str | None, _option("--grammar", metavar="GBNF", help="What the text must follow.")] = None
    grammar_file: Annotated[Path | None, _option("--grammar-file", metavar="FILE", help="A file that has it.")] = None
    schema: Annotated[
        str | None, _option("-j", "--json-schema", metavar="JSON", help="A JSON schema to follow; {}: any.")
    ] = None
    schema_file: Annotated[
        Path | None, _option("-jf", "--json-schema-file", metavar="FILE", help="A file that has it.")
    ] = None


@contextlib.contextmanager
def chain_of(vocab: int, sampling: Sampling) -> Iterator[int]:
    """Make the chain of samplers, and free it at the end."""
    chain: int = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    try:
        for sampler in _samplers(vocab, sampling):
            llama_cpp.llama_sampler_chain_add(chain, sampler)
        yield chain
    finally:
        llama_cpp.llama_sampler_free(chain)


def remember(chain: int, tokens: Sequence[int]) -> None:
    """Let the penalties count what stands before the text; a grammar must not see it."""
    samplers = [
        llama_cpp.llama_sampler_chain_get(chain, index) for index in range(llama_cpp.llama_sampler_chain_n(chain))
    ]
    for sampler in samplers:
        if llama_cpp.llama_sampler_name(sampler) == b"penalties":
            for token in tokens:
                llama_cpp.llama_sampler_accept(sampler, token)


def _samplers(vocab: int, given: Sampling) -> Iterator[int]:
    if grammar := grammar_of(given):
        yield _grammar_sampler(vocab, grammar)
    penalties = (given.repeat_last_n, given.repeat_penalty, given.frequency_penalty, given.presence_penalty)
    yield llama_cpp.llama_sampler_init_penalties(llama_cpp.llama_vocab_n_tokens(vocab), *penalties)
    yield llama_cpp.llama_sampler_init_top_k(given.top_k)
    yield llama_cpp.llama_sampler_init_top_p(given.top_p, 1)
    yield llama_cpp.llama_sampler_init_min_p(given.min_p, 1)
    yield llama_cpp.llama_sampler_init_temp(given.temp)
    yield llama_cpp.llama_sampler_init_dist(given.seed % 2**32)  # C's -1 is the seed that it takes for none


def _grammar_sampler(vocab: int, grammar: str) -> int:
    sampler: int | None = llama_cpp.llama_sampler_init_grammar(vocab, grammar, ROOT)
    if not sampler:
        raise CommandError(f"the grammar is none: {engine.reason()}")
    return sampler


def grammar_of(given: Sampling) -> str | None:
    """Return the grammar that one of the options names.

    Raises:
        CommandError: several do, or what one names is no JSON or a schema that cannot be followed.
    """
    named = [value for value in (given.grammar, given.grammar_file, given.schema, given.schema_file) if value]
    if len(named) > 1:
        raise CommandError("give one of --grammar, --grammar-file, --json-schema and --json-schema-file, not several")
    if given.schema or given.schema_file:
        return _from_schema(given.schema or _text(given.schema_file))
    return given.grammar or _text(given.grammar_file)


def _text(file: Path | None) -> str:
    try:
        return file.read_text(encoding="utf-8") if file else ""
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is no text in UTF-8: {error.reason} at byte {error.start:,}") from None


def _from_schema(text: str) -> str:
    try:
        return json_schema.grammar(json.loads(text))
    except json.JSONDecodeError as error:
        raise CommandError(f"the schema is no JSON: {error}") from None
    except json_schema.SchemaError as error:
        raise CommandError(f"the schema cannot be followed: {error}") from None
