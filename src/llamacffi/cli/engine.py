"""Models, contexts and tokens for the commands: loaded and freed by `with`, and what fails is one sentence.

Relies on `quieten`, which keeps llama.cpp's log off the screen; its first error is the reason that a sentence gives.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import itertools
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import llamacffi
from llamacffi import default_model, device, llama_cpp, pinned_download
from llamacffi.cli import CommandError, terminal
from llamacffi.cli.options import Engine
from llamacffi.device import Device

LOGGER = "llama.cpp"
DEFAULT_CONTEXT = 4096  # what a model was trained for may be more than the machine's memory has room for
BAR_STEP = 512  # tokens of a prompt after which its progress bar moves: what llama.cpp computes at once


def quieten(*, verbose: bool = False) -> None:
    """Send llama.cpp's log to stderr, or to a logger that shows nothing."""
    if verbose:
        return
    logger = logging.getLogger(LOGGER)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    llamacffi.log_to(logger)


def reason() -> str:
    """Return the first thing that went wrong in the last call; what is logged after it follows from it."""
    return llamacffi.last_error().partition("\n")[0] or "llama.cpp gives no reason"


# ---------------------------------------------------------------- models and contexts


def model_path(given: Path | None) -> Path:
    """Return the model that is given, or the demo's where it was downloaded."""
    if given is not None:
        return given
    found: Path = pinned_download.cache_dir() / default_model.NAME
    if not found.is_file():
        raise CommandError("give a model with --model FILE, or let `llamacffi demo` download a small one")
    return found


@contextlib.contextmanager
def loaded(given: Path | None, servers: str | None = None, **fields: Any) -> Iterator[int]:
    """Load a model, on these servers, with these fields of its params, and free it at the end."""
    path = model_path(given)
    params = llama_cpp.llama_model_default_params()
    if servers:
        llamacffi.offload(params, devices_of(servers))
    for name, value in fields.items():
        setattr(params, name, value)
    with terminal.progress("loading", 1) as advance:

        def on_progress(share: float, _data: object) -> bool:
            advance(share)
            return True

        params.progress_callback = llama_cpp.llama_progress_callback(on_progress)
        model: int | None = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise CommandError(f"{path} could not be loaded: {reason()}")
    try:
        yield model
    finally:
        llama_cpp.llama_model_free(model)


def load(engine: Engine) -> contextlib.AbstractContextManager[int]:
    """Load the model that the options name, as they say."""
    fields = {} if engine.n_gpu_layers is None else {"n_gpu_layers": engine.n_gpu_layers}
    return loaded(engine.model, engine.rpc, **fields)


def devices_of(servers: str) -> list[Device]:
    """Return the devices of servers, and this machine's GPUs behind them, as llama.cpp's tools take them."""
    own = [one for one in device.local() if one.type in ("gpu", "igpu")]
    return [*llamacffi.add_rpc_servers(servers.split(",")), *own]


@contextlib.contextmanager
def context_of(model: int, engine: Engine, n_ctx: int, **fields: Any) -> Iterator[int]:
    """Make a context of `n_ctx` tokens, with these fields of its params, and free it at the end."""
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = n_ctx
    params.n_threads = params.n_threads_batch = engine.threads or llamacffi.usable_cpus()
    for name, value in fields.items():
        setattr(params, name, value)
    context: int | None = llama_cpp.llama_init_from_model(model, params)
    if not context:
        raise CommandError(f"a context of {n_ctx:,} tokens could not be made: {reason()}")
    try:
        yield context
    finally:
        llama_cpp.llama_free(context)


def check_writes(context: int) -> None:
    """Refuse a model that does not go on with a text: one with an encoder, or without a memory."""
    model = llama_cpp.llama_get_model(context)
    if llama_cpp.llama_model_has_encoder(model) or not llama_cpp.llama_get_memory(context):
        raise CommandError("this model does not go on with a text: `llamacffi embed` is for models such as this")


def context_size(model: int, asked: int | None) -> int:
    """Return how many tokens of context the user wants; 0 is what the model was trained for."""
    trained: int = llama_cpp.llama_model_n_ctx_train(model)
    return min(trained, DEFAULT_CONTEXT) if asked is None else asked or trained


def metadata(model: int, key: str) -> str | None:
    """Return a value of the model's metadata as text, or None where it has no such key."""
    length = llama_cpp.llama_model_meta_val_str(model, key, None, 0)
    if length < 0:
        return None
    buffer = ctypes.create_string_buffer(length + 1)
    llama_cpp.llama_model_meta_val_str(model, key, buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace")


# ---------------------------------------------------------------- tokens and text


def tokenize(vocab: int, text: bytes, *, special: bool = True, parse: bool = True) -> list[int]:
    """Turn a text into tokens.

    Args:
        vocab: whose.
        text: in UTF-8.
        special: whether the tokens that the model wants around a text are added.
        parse: whether the names of special tokens in the text stand for these.
    """
    needed = -llama_cpp.llama_tokenize(vocab, text, len(text), None, 0, special, parse)
    tokens = (ctypes.c_int32 * max(needed, 0))()
    llama_cpp.llama_tokenize(vocab, text, len(text), tokens, len(tokens), special, parse)
    return list(tokens)


def detokenize(vocab: int, tokens: Sequence[int], *, special: bool = False) -> bytes:
    """Turn tokens into the text that they are of; special ones vanish unless they are asked for."""
    given = (ctypes.c_int32 * len(tokens))(*tokens)
    needed = -llama_cpp.llama_detokenize(vocab, given, len(given), None, 0, False, special)
    text = bytearray(max(needed, 0))
    llama_cpp.llama_detokenize(vocab, given, len(given), text, len(text), False, special)
    return bytes(text)


def piece(vocab: int, token: int, *, special: bool = False) -> bytes:
    """Return the bytes of one token, which may be part of a character."""
    needed = -llama_cpp.llama_token_to_piece(vocab, token, None, 0, 0, special)
    text = bytearray(max(needed, 0))
    llama_cpp.llama_token_to_piece(vocab, token, text, len(text), 0, special)
    return bytes(text)


# ---------------------------------------------------------------- computing


def decode(context: int, tokens: Sequence[int]) -> None:
    """Run the model over some tokens of one sequence."""
    given = (ctypes.c_int32 * len(tokens))(*tokens)
    checked(llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(given, len(given))))


def checked(status: int) -> None:
    if status != 0:
        raise CommandError(f"llama_decode failed with {status}: {reason()}")


def read(context: int, tokens: Sequence[int]) -> float:
    """Run the model over a prompt, batch by batch, and return the seconds that it took."""
    started = time.perf_counter()
    with reading(len(tokens)) as advance:
        step = min(llama_cpp.llama_n_batch(context), BAR_STEP)
        for first in range(0, len(tokens), step):
            decode(context, tokens[first : first + step])
            llama_cpp.llama_synchronize(context)
            advance(first + step)
    return time.perf_counter() - started


def reading(number: int) -> contextlib.AbstractContextManager[terminal.Advance]:
    if number <= BAR_STEP:  # a bar would only flash
        return contextlib.nullcontext(terminal.ignore)
    return terminal.progress("reading the prompt", number)


def sampled(context: int, vocab: int, sampler: int, most: int) -> Iterator[int]:
    """Sample a token from the last logits, yield it, decode it, and so on, until the model or the context ends.

    Args:
        context: with the logits of a prompt.
        vocab: the model's.
        sampler: what chooses.
        most: how many tokens at most; -1 is no limit.

    Raises:
        ContextFull: the model would go on, and has no room to.
    """
    room = llama_cpp.llama_n_ctx_seq(context) - 1 - last_position(context)
    for number in itertools.count(1):
        if most == 0:
            return
        token: int = llama_cpp.llama_sampler_sample(sampler, context, -1)
        if llama_cpp.llama_vocab_is_eog(vocab, token):
            return
        yield token
        if number == most:
            return
        if number > room:
            raise ContextFull("the context is full: --ctx-size makes a larger one")
        decode(context, [token])


def last_position(context: int) -> int:
    """Return the position of the last token that the context has computed; -1 where it has none."""
    return int(llama_cpp.llama_memory_seq_pos_max(llama_cpp.llama_get_memory(context), 0))


class ContextFull(Exception):
    """The model would go on, and has no room to."""


class Characters:
    """Turns pieces into text; a character that is not whole waits for its rest."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, part: bytes) -> str:
        return self._decoder.decode(part)
