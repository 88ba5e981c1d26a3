"""Each function × each handle among its parameters × each mistake with a handle, made from the header's types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llamacffi import ffi, lib
from llamacffi._native import functions

# How a cell gets a live handle of each kind, one that is freed, and how the freed one went.
LIVE = {
    "llama_model": "model",
    "llama_context": "ctx",
    "llama_vocab": "vocab",
    "llama_memory_i": "L.llama_get_memory(ctx)",
    "llama_sampler": "L.llama_sampler_init_top_k(3)",
    "llama_batch_ext": "L.llama_batch_ext_init(ctx)",
    "llama_adapter_lora": "L.llama_adapter_lora_init(model, adapter_path())",
    "gguf_context": "L.gguf_init_empty()",
    "ggml_threadpool": "pool_of(1)",
}
OWNER = {"llama_vocab": "model", "llama_memory_i": "ctx"}
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
}

# Where C takes NULL for a handle; a function that only frees takes it too.
NULL_IS_GOOD = {
    ("llama_attach_threadpool", 2),
    ("llama_set_sampler", 2),
    ("llama_opt_epoch", 2),
    ("llama_opt_epoch", 3),
}

# What the message says after the parameter's name.
SAYS = {
    "NULL": "must be a live {kind}, not NULL",
    "unknown": "must be a live {kind}, not an address that no call returned",
    "other kind": "must be a live {kind}, not a {other}",
    "freed": "is a {kind} that {free}() has freed",
}


@dataclass(frozen=True)
class Cell:
    """A call with one wrong handle."""

    mistake: str
    function: str
    position: int
    kind: str

    @property
    def name(self) -> str:
        return f"{self.mistake}: {self.function}, argument {self.position + 1}"

    @property
    def other(self) -> str:
        return "llama_vocab" if self.kind == "llama_model" else "llama_model"

    @property
    def code(self) -> str:
        types = argument_types(self.function)
        before = [good(self.function, ctype) for ctype in types[: self.position]]
        after = [
            "os.fsencode(TINY + '.new')" if ctype.cname == "char *" else "None" for ctype in types[self.position + 1 :]
        ]
        setup = f"before = ({', '.join([*before, ''])})\n{self.setup}" if before else self.setup
        return f"{setup}L.{self.function}({', '.join(['*before'] * bool(before) + [self.wrong, *after])})"

    @property
    def setup(self) -> str:
        if self.mistake != "freed":
            return ""
        return f"wrong = {LIVE[self.kind]}\nL.{FREE[self.kind]}({OWNER.get(self.kind, 'wrong')})\n"

    @property
    def wrong(self) -> str:
        return {"NULL": "None", "unknown": "2**40 + 8", "other kind": LIVE[self.other], "freed": "wrong"}[self.mistake]

    @property
    def expected(self) -> str:
        """A regular expression for what becomes of it."""
        says = SAYS[self.mistake].format(kind=self.kind, other=self.other, free=FREE[self.kind])
        return rf"LlamaValueError {self.function}\(\): .+ \(.+\) {re.escape(says)}"


def argument_types(function: str) -> tuple[Any, ...]:
    return tuple(ffi.typeof(getattr(lib, function)).args)


def kind_of(ctype: Any) -> str | None:
    """The kind of handle that a parameter of this type is."""
    found = re.fullmatch(r"struct (\w+) (?:const )?\*", ctype.cname)
    return found[1] if found and found[1] in LIVE else None


def good(function: str, ctype: Any) -> str:
    """An argument that stands before the wrong one."""
    kind = kind_of(ctype)
    if kind == "llama_sampler" and function.startswith("llama_sampler_chain_"):
        return "chain_of()"
    return LIVE[kind] if kind else "0"


def reachable(types: tuple[Any, ...], position: int) -> bool:
    """Whether what stands before the parameter can be given without knowing what it means."""
    return all(kind_of(ctype) or ctype.kind in ("primitive", "enum") for ctype in types[:position])


def cells() -> Iterator[Cell]:
    for function in sorted(functions):
        types = argument_types(function)
        for position, ctype in enumerate(types):
            kind = kind_of(ctype)
            if kind and reachable(types, position):
                yield from (Cell(mistake, function, position, kind) for mistake in mistakes(function, position))


def mistakes(function: str, position: int) -> list[str]:
    null_is_good = "free" in function.split("_") or (function, position) in NULL_IS_GOOD
    return [mistake for mistake in SAYS if mistake != "NULL" or not null_is_good]
