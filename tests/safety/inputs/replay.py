"""Hand the corpus's inputs of one target to the Python API, one after the other, and report how that went.

`python -m inputs.replay FOLDER TARGET` prints one line of JSON: how many inputs ended how. The one that is tried stands
in `FOLDER/TARGET`, so that whoever started the process has it when the process dies.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import json
import math
import os
import resource
import sys
from collections.abc import Callable, Iterable
from ctypes import byref, c_size_t, c_void_p
from pathlib import Path
from typing import Any

from hostile import ADDRESS_SPACE, describe, outcome, tokenize

from inputs import corpus, seeds
from llamacffi import LlamaError
from llamacffi import llama_cpp as llama
from support.child import be_quiet, told
from support.objects import candidates, context_of, decode, ints, load, strings, use_adapter

Attempt = Callable[[bytes], str]

TOKENS = (0, 1, 1)  # which each of the models has
STEPS = 8


# ---------------------------------------------------------------- GGUF, models and adapters


def gguf(folder: Path) -> Attempt:
    def read(given: bytes) -> str:
        tensors = c_void_p()
        params = llama.gguf_init_params(no_alloc=False, ctx=ctypes.pointer(tensors))
        gguf = llama.gguf_init_from_buffer(given, len(given), params)
        if gguf is None:
            return "refused"
        for key in range(llama.gguf_get_n_kv(gguf)):
            llama.gguf_get_key(gguf, key)
        for index in range(llama.gguf_get_n_tensors(gguf)):
            llama.gguf_get_tensor_size(gguf, index)
        llama.gguf_get_meta_data(gguf, bytearray(llama.gguf_get_meta_size(gguf)))
        llama.gguf_free(gguf)
        llama.ggml_free(tensors.value)
        return "read"

    return read


def use_model(path: Path, **fields: Any) -> str:
    model = load(path, **fields)
    if model is None:
        return "not loaded"
    try:
        describe(model)
        with contextlib.suppress(LlamaError):  # a vocabulary may lack what a text needs
            tokenize(model)
        return generate(model)
    finally:
        llama.llama_model_free(model)


def generate(model: Any) -> str:
    context = context_of(model, n_ctx=64, n_batch=64)
    if context is None:
        return "no context"
    try:
        return "decoded" if decode(context, TOKENS) == 0 else "not decoded"
    finally:
        llama.llama_free(context)


def model(folder: Path) -> Attempt:
    path = folder / "given.gguf"

    def use(given: bytes) -> str:
        path.write_bytes(given)
        with contextlib.suppress(LlamaError):
            use_model(path, vocab_only=True)
        return use_model(path)

    return use


def adapter(folder: Path) -> Attempt:
    path, model = folder / "given.gguf", load(folder / "models" / seeds.FIRST)
    contexts = Contexts([model])

    def use(given: bytes) -> str:
        path.write_bytes(given)
        adapter = llama.llama_adapter_lora_init(model, os.fsencode(path))
        if adapter is None:
            return "refused"
        try:
            return contexts.use(lambda context: use_adapter(context, adapter))
        finally:
            llama.llama_adapter_lora_free(adapter)

    return use


# ---------------------------------------------------------------- states


class Contexts:
    """A context of each model, empty before each use; one that an exception leaves behind is not used again."""

    def __init__(self, models: Iterable[Any]) -> None:
        self.models = list(models)
        self.contexts = [self.open(model) for model in self.models]

    def open(self, model: Any) -> Any:
        return context_of(model, n_ctx=64, n_batch=64, n_ubatch=64, n_seq_max=2)

    def use(self, act: Callable[[Any], object]) -> str:
        """Act on each and decode afterwards."""
        return ", ".join(self._use(index, act) for index in range(len(self.models)))

    def _use(self, index: int, act: Callable[[Any], object]) -> str:
        try:
            if taken := act(self.contexts[index]) not in (0, False):
                decode(self.contexts[index], TOKENS)
            llama.llama_memory_clear(llama.llama_get_memory(self.contexts[index]), True)
        except LlamaError as error:
            llama.llama_free(self.contexts[index])
            self.contexts[index] = self.open(self.models[index])
            return type(error).__name__
        return "taken" if taken else "refused"


def shared(folder: Path) -> Contexts:
    return Contexts(load(path) for path in sorted((folder / "models").iterdir()))


def state(folder: Path) -> Attempt:
    contexts = shared(folder)

    def use(given: bytes) -> str:
        whole = contexts.use(lambda context: llama.llama_state_set_data(context, given, len(given)))
        return f"{whole}; " + contexts.use(
            lambda context: llama.llama_state_seq_set_data(context, given, len(given), 0)
        )

    return use


def session(folder: Path) -> Attempt:
    contexts, path = shared(folder), folder / "given"
    room = (ints(*[0] * 16), 16, byref(c_size_t()))

    def use(given: bytes) -> str:
        path.write_bytes(given)
        name = os.fsencode(path)
        whole = contexts.use(lambda context: llama.llama_state_load_file(context, name, *room))
        return f"{whole}; " + contexts.use(lambda context: llama.llama_state_seq_load_file(context, name, 0, *room))

    return use


# ---------------------------------------------------------------- texts


def first_token(sampler: Any, count: int, end: int) -> int:
    """Return the first token that the grammar takes."""
    array = candidates(count)
    llama.llama_sampler_apply(sampler, byref(array))
    return next((array.data[index].id for index in range(count) if math.isfinite(array.data[index].logit)), end)


def follow(vocab: Any, sampler: Any) -> str:
    count = llama.llama_vocab_n_tokens(vocab)
    try:
        llama.llama_sampler_accept(sampler, count - 1)  # a letter
        for _ in range(STEPS):
            llama.llama_sampler_accept(sampler, first_token(sampler, count, llama.llama_vocab_eos(vocab)))
    finally:
        llama.llama_sampler_free(sampler)
    return "followed"


def grammar(folder: Path) -> Attempt:
    vocab = llama.llama_model_get_vocab(load(folder / "models" / seeds.FIRST))

    def use(given: bytes) -> str:
        text, *patterns = given.split(b"\0")
        if patterns:
            pattern = strings(patterns[-1])
            sampler = llama.llama_sampler_init_grammar_lazy_patterns(vocab, text, b"root", pattern, 1, None, 0)
        else:
            sampler = llama.llama_sampler_init_grammar(vocab, text, b"root")
        return follow(vocab, sampler) if sampler else "refused"

    return use


def template(folder: Path) -> Attempt:
    def use(given: bytes) -> str:
        text, *parts = given.split(b"\0")
        chat = [llama.llama_chat_message(*pair) for pair in zip(parts[::2], parts[1::2], strict=False)]
        messages = (llama.llama_chat_message * len(chat))(*chat)
        needed = llama.llama_chat_apply_template(text, messages, len(chat), True, None, 0)
        room = max(0, needed)
        return told(llama.llama_chat_apply_template(text, messages, len(chat), True, bytearray(room), room) == needed)

    return use


# ---------------------------------------------------------------- the run


ATTEMPTS: dict[str, Callable[[Path], Attempt]] = {
    "gguf": gguf,
    "model": model,
    "adapter": adapter,
    "state": state,
    "session": session,
    "grammar": grammar,
    "template": template,
}


def run(folder: Path, target: str) -> dict[str, int]:
    attempt, inputs = ATTEMPTS[target](folder), corpus.read()[target]

    def tried(number: int) -> str:
        (folder / target).write_bytes(inputs[number])
        return attempt(inputs[number])

    return collections.Counter(outcome(tried, number) for number in range(len(inputs)))


def main() -> None:
    folder, target = Path(sys.argv[1]), sys.argv[2]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    be_quiet()
    seeds.write_models(folder / "models")
    print(json.dumps(run(folder, target)))


if __name__ == "__main__":
    main()
