"""Each function refuses each wrong handle: NULL, an unknown address, another kind, a freed one.

The cases are made from the header, so that a new function is among them by itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from arguments import LIVE, good, kind_of, types_of

from llamacffi import LlamaValueError
from llamacffi import llama_cpp as llama
from llamacffi._native import functions
from support.cells import refused

# What the handle of a kind is freed by, and what it goes with.
FREE = {
    "llama_model": "llama_model_free",
    "llama_context": "llama_free",
    "llama_vocab": "llama_model_free",
    "llama_memory_i": "llama_free",
    "llama_sampler": "llama_sampler_free",
    "llama_batch_ext": "llama_batch_ext_free",
    "llama_adapter_lora": "llama_adapter_lora_free",
    "gguf_context": "gguf_free",
    "ggml_threadpool": "ggml_threadpool_free",
    "mtmd_context": "mtmd_free",
    "mtmd_bitmap": "mtmd_bitmap_free",
    "mtmd_input_chunks": "mtmd_input_chunks_free",
    "mtmd_input_chunk": "mtmd_input_chunk_free",
    "mtmd_batch": "mtmd_batch_free",
    "mtmd_helper_video": "mtmd_helper_video_free",
    "mtmd_helper_gen_audio": "mtmd_helper_gen_audio_free",
}
OWNER = {"llama_vocab": "llama_model", "llama_memory_i": "llama_context"}

# Where C takes NULL for a handle; a function that only frees takes it too.
NULL_IS_GOOD = {
    ("llama_attach_threadpool", 2),
    ("llama_set_sampler", 2),
    ("llama_opt_epoch", 2),
    ("llama_opt_epoch", 3),
    ("mtmd_decode_use_non_causal", 1),
    ("mtmd_helper_model_can_chat", 1),
    ("mtmd_bitmap_init_lazy", 0),
}

# What the message says after the parameter's name.
SAYS = {
    "NULL": "must be a live {kind}, not NULL",
    "unknown": "must be a live {kind}, not an address that no call returned",
    "other kind": "must be a live {kind}, not a {other}",
    "freed": "is a {kind} that {free}() has freed",
}

Case = tuple[str, str, int]  # the mistake, the function, the parameter's position


def cases() -> Iterator[Case]:
    for function in sorted(functions):
        types = types_of(function)
        for position, ctype in enumerate(types):
            if kind_of(ctype) and reachable(types, position):
                yield from ((mistake, function, position) for mistake in mistakes(function, position))


def reachable(types: tuple[Any, ...], position: int) -> bool:
    """Whether what stands before the parameter can be given without knowing what it means."""
    return all(kind_of(ctype) or ctype.kind in ("primitive", "enum") for ctype in types[:position])


def mistakes(function: str, position: int) -> list[str]:
    null_is_good = "free" in function.split("_") or (function, position) in NULL_IS_GOOD
    return [mistake for mistake in SAYS if mistake != "NULL" or not null_is_good]


CASES = list(cases())


def kind_at(function: str, position: int) -> str:
    kind = kind_of(types_of(function)[position])
    assert kind
    return kind


def other_than(kind: str) -> str:
    return "llama_vocab" if kind == "llama_model" else "llama_model"


def wrong_handle(mistake: str, kind: str, model: Any, ctx: Any) -> Any:
    """Make a handle that is wrong in this way for a parameter of this kind."""
    if mistake == "NULL":
        return None
    if mistake == "unknown":
        return 2**40 + 8
    if mistake == "other kind":
        return LIVE[other_than(kind)](model, ctx)
    handle = LIVE[kind](model, ctx)
    owner = OWNER.get(kind)
    getattr(llama, FREE[kind])(LIVE[owner](model, ctx) if owner else handle)
    return handle


def says(mistake: str, function: str, position: int) -> str:
    kind = kind_at(function, position)
    text = SAYS[mistake].format(kind=kind, other=other_than(kind), free=FREE[kind])
    return rf"{function}\(\): .+ \(.+\) {re.escape(text)}"


@pytest.mark.parametrize(("mistake", "function", "position"), CASES)
@refused(LlamaValueError, says)
def test_a_wrong_handle_is_refused(
    mistake: str, function: str, position: int, model: Any, ctx: Any, folder: Path
) -> None:
    types = types_of(function)
    before = [good(function, ctype, model, ctx) for ctype in types[:position]]
    # conversion comes first, and would refuse None where a function writes a file
    after = [os.fsencode(folder / "new") if ctype.cname == "char *" else None for ctype in types[position + 1 :]]
    wrong = wrong_handle(mistake, kind_at(function, position), model, ctx)
    getattr(llama, function)(*before, wrong, *after)


def test_every_kind_of_handle_and_every_mistake_is_among_the_cases() -> None:
    tried = {(kind_at(function, position), mistake) for mistake, function, position in CASES}
    assert tried == {(kind, mistake) for kind in LIVE for mistake in SAYS}


def test_there_are_more_than_a_thousand_cases() -> None:
    assert len(CASES) > 1000
