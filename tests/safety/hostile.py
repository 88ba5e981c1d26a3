"""Load, tokenize and decode damaged files, one after the other in this process, and report how that went.

`python hostile.py FOLDER KIND FIRST COUNT` prints one line of JSON. The seed that is being tried stands in
`FOLDER/KIND.seed`, so that whoever started the process knows it when the process dies. A seed that takes longer than
HANG seconds ends the process with a traceback.
"""

from __future__ import annotations

import collections
import ctypes
import faulthandler
import functools
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import damage
import psutil

import llamacffi
from llamacffi import llama_cpp as llama
from llamacffi import mtmd_cpp as mtmd
from support import any_projector, gguf_files, pictures, tiny_projector
from support.child import be_quiet
from support.media import decoded, load_media, media_chunk, media_of, picture, sound, tokenize_media
from support.objects import TOKENS, context_of, decode, ints, load, use_adapter

HANG = 20  # seconds
WARM_UP = 100  # files, before memory is looked at
ADDRESS_SPACE = 2 * 2**30  # bytes: a damaged file may ask for more than the machine has

# What llama.cpp itself cannot survive and no check before the call can see; docs/safety.md has the reasons.
KNOWN: dict[str, frozenset[int]] = {}

TEXT = b" the cat \xc3\xa9"

Attempt = Callable[[int], str]


# ---------------------------------------------------------------- what is done with a file


def open_context(model: Any) -> Any:
    return context_of(model, n_ctx=64, n_batch=64)


def tokenize(model: Any) -> None:
    vocab = llama.llama_model_get_vocab(model)
    tokens = ints(*[0] * 64)
    count = llama.llama_tokenize(vocab, TEXT, len(TEXT), tokens, len(tokens), True, True)
    for token in [*tokens[: max(0, count)], llama.llama_vocab_n_tokens(vocab) - 1]:
        llama.llama_token_to_piece(vocab, token, bytearray(64), 64, 0, True)
    llama.llama_detokenize(vocab, tokens, max(0, count), bytearray(256), 256, False, True)


def describe(model: Any) -> None:
    for index in range(min(llama.llama_model_meta_count(model), 64)):
        llama.llama_model_meta_key_by_index(model, index, bytearray(64), 64)
        llama.llama_model_meta_val_str_by_index(model, index, bytearray(64), 64)
    template = llama.llama_model_chat_template(model, None)
    if template is not None:
        message = llama.llama_chat_message(b"user", b"hello")
        llama.llama_chat_apply_template(template, ctypes.byref(message), 1, True, bytearray(256), 256)


def generate(model: Any) -> str:
    context = open_context(model)
    if context is None:
        return "no context"
    try:
        if decode(context) != 0:
            return "not decoded"
        sampler = llama.llama_sampler_init_greedy()
        llama.llama_sampler_sample(sampler, context, -1)
        llama.llama_sampler_free(sampler)
        return "decoded"
    finally:
        llama.llama_free(context)


def use_model(path: Path, **fields: Any) -> str:
    model = load(path, **fields)
    if model is None:
        return "not loaded"
    try:
        describe(model)
        tokenize(model)
        return generate(model) if not fields else "tokenized"
    finally:
        llama.llama_model_free(model)


# ---------------------------------------------------------------- the kinds


def gguf_attempt(folder: Path, kind: str, use: Callable[[Path], str]) -> Attempt:
    intact = gguf_files.KINDS[kind](folder / f"{kind}.gguf")
    damaged = folder / f"damaged-{kind}.gguf"

    def attempt(seed: int) -> str:
        damaged.write_bytes(damage.gguf_file(intact, seed))
        return use(damaged)

    return attempt


def adapter_attempt(folder: Path) -> Attempt:
    model = load()
    context = open_context(model)

    def use(path: Path) -> str:
        adapter = llama.llama_adapter_lora_init(model, os.fsencode(path))
        if adapter is None:
            return "not loaded"
        try:
            use_adapter(context, adapter)
            llama.llama_memory_clear(llama.llama_get_memory(context), True)
            return "decoded" if decode(context) == 0 else "not decoded"
        finally:
            llama.llama_set_adapters_lora(context, None, 0, None)
            llama.llama_adapter_lora_free(adapter)

    return gguf_attempt(folder, "adapter", use)


class Saved:
    """A context of the tiny model, and what it saves."""

    def __init__(self, folder: Path) -> None:
        self.model = load()
        self.open()
        self.file = folder / "saved"
        buffer = bytearray(llama.llama_state_get_size(self.context))
        size = llama.llama_state_get_data(self.context, buffer, len(buffer))
        self.state = bytes(buffer[:size])
        size = llama.llama_state_seq_get_data(self.context, buffer, len(buffer), 0)
        self.sequence = bytes(buffer[:size])
        llama.llama_state_save_file(self.context, os.fsencode(self.file), ints(*TOKENS), len(TOKENS))
        self.session = self.file.read_bytes()
        llama.llama_state_seq_save_file(self.context, os.fsencode(self.file), 0, ints(*TOKENS), len(TOKENS))
        self.sequence_file = self.file.read_bytes()

    def open(self) -> None:
        self.context = open_context(self.model)
        decode(self.context)

    def after(self, result: int) -> str:
        """Decode with what was restored; what fails there must leave the next attempt a sound context."""
        try:
            llama.llama_get_logits_ith(self.context, -1)
            decoded = decode(self.context)
            llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        except llamacffi.LlamaError:
            llama.llama_free(self.context)
            self.open()
            raise
        return ("restored" if result else "refused") + ("" if decoded == 0 else ", not decoded")


def state_attempts(folder: Path) -> dict[str, Attempt]:
    saved = Saved(folder)
    tokens, count = ints(*[0] * 16), ctypes.c_size_t()

    def state(seed: int) -> str:
        given = damage.state(saved.state, seed)
        return saved.after(llama.llama_state_set_data(saved.context, given, len(given)))

    def sequence(seed: int) -> str:
        given = damage.state(saved.sequence, seed)
        return saved.after(llama.llama_state_seq_set_data(saved.context, given, len(given), 0))

    def session(seed: int) -> str:
        saved.file.write_bytes(damage.state(saved.session, seed))
        path = os.fsencode(saved.file)
        return saved.after(llama.llama_state_load_file(saved.context, path, tokens, 16, ctypes.byref(count)))

    def sequence_file(seed: int) -> str:
        saved.file.write_bytes(damage.state(saved.sequence_file, seed))
        path, given = os.fsencode(saved.file), (tokens, 16, ctypes.byref(count))
        return saved.after(llama.llama_state_seq_load_file(saved.context, path, 0, *given))

    return {"state": state, "sequence": sequence, "session": session, "sequence_file": sequence_file}


def projector_attempt(folder: Path, kind: str) -> Attempt:
    """Load a damaged projector, and encode what it is for."""
    model = load()
    bitmap = sound() if tiny_projector.KINDS[kind].modality == "audio" else picture()

    def use(path: Path) -> str:
        media = load_media(path, model)
        if media is None:
            return "not loaded"
        try:
            return encode(media, bitmap)
        finally:
            mtmd.mtmd_free(media)

    return gguf_attempt(folder, kind, use)


def any_projector_attempt(folder: Path) -> Attempt:
    """Load a projector of each kind in turn, and encode whatever it says that it is for."""
    model = load()
    bitmaps = {mtmd.mtmd_support_vision: picture(), mtmd.mtmd_support_audio: sound()}

    def attempt(seed: int) -> str:
        media = any_projector.AnyProjector(seed).load(folder / "any.gguf", model)
        if media is None:
            return "not loaded"
        try:
            return "; ".join(encode(media, bitmap) for supports, bitmap in bitmaps.items() if supports(media))
        finally:
            mtmd.mtmd_free(media)

    return attempt


def encode(media: Any, bitmap: Any) -> str:
    chunks = mtmd.mtmd_input_chunks_init()
    try:
        if tokenize_media(media, chunks, bitmap) != 0:
            return "not tokenized"
        return "encoded" if mtmd.mtmd_encode_chunk(media, media_chunk(chunks)) == 0 else "not encoded"
    finally:
        mtmd.mtmd_input_chunks_free(chunks)


GGUF_KINDS: dict[str, Callable[[Path], Attempt]] = {
    "model": lambda folder: gguf_attempt(folder, "model", use_model),
    "vocabulary": lambda folder: gguf_attempt(folder, "vocabulary", lambda path: use_model(path, vocab_only=True)),
    "template": lambda folder: gguf_attempt(folder, "template", use_model),
    "adapter": adapter_attempt,
    **{kind: functools.partial(projector_attempt, kind=kind) for kind in tiny_projector.KINDS},
}


def file_attempt(projector: str, intact: bytes) -> Attempt:
    """Decode a damaged image or sound, and go on with what came out of it."""
    media = media_of(load(), projector)

    def attempt(seed: int) -> str:
        bitmap = decoded(media, damage.state(intact, seed))
        try:
            return "no bitmap" if bitmap is None else encode(media, bitmap)
        finally:
            mtmd.mtmd_bitmap_free(bitmap)

    return attempt


def media_attempt() -> Attempt:
    """Try each kind of file in turn."""
    attempts = {
        "png": file_attempt("mlp", pictures.png(pictures.pixels())),
        "jpeg": file_attempt("mlp", pictures.of_upstream("test-1.jpeg")),
        "bmp": file_attempt("gemma3", pictures.bmp(pictures.pixels())),
        "wav": file_attempt("ultravox", pictures.wav()),
    }

    def attempt(seed: int) -> str:
        name = [*attempts][seed % len(attempts)]
        return f"{name} {attempts[name](seed)}"

    return attempt


STATE_KINDS = ("state", "sequence", "session", "sequence_file")


# ---------------------------------------------------------------- the run


def outcome(attempt: Attempt, seed: int) -> str:
    faulthandler.dump_traceback_later(HANG, exit=True)
    try:
        return attempt(seed)
    except (llamacffi.LlamaError, MemoryError) as error:
        return type(error).__name__
    finally:
        faulthandler.cancel_dump_traceback_later()


def seeds(folder: Path, kind: str, first: int, count: int) -> Iterator[int]:
    """Give the seeds, and leave each where it is found after the process died."""
    with (folder / f"{kind}.seed").open("wb", buffering=0) as current:
        for seed in range(first, first + count):
            if seed in KNOWN.get(kind, ()):
                continue
            os.pwrite(current.fileno(), f"{seed:12}".encode(), 0)
            yield seed


def attempt_of(folder: Path, kind: str) -> Attempt:
    if kind == "media":
        return media_attempt()
    if kind == "any projector":
        return any_projector_attempt(folder)
    return GGUF_KINDS[kind](folder) if kind in GGUF_KINDS else state_attempts(folder)[kind]


def run(folder: Path, kind: str, first: int, count: int) -> dict[str, Any]:
    attempt = attempt_of(folder, kind)
    outcomes: collections.Counter[str] = collections.Counter()
    slowest, warm = (0.0, first), 0
    for tried, seed in enumerate(seeds(folder, kind, first, count)):
        if tried == min(WARM_UP, count // 2):
            warm = psutil.Process().memory_info().rss
        start = time.monotonic()
        outcomes[outcome(attempt, seed)] += 1
        slowest = max(slowest, (time.monotonic() - start, seed))
    grown = (psutil.Process().memory_info().rss - warm) / 2**20
    return {"kind": kind, "outcomes": outcomes, "slowest": slowest, "grown": round(grown, 1)}


def main() -> None:
    folder, kind, first, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    be_quiet()
    print(json.dumps(run(folder, kind, first, count)))


if __name__ == "__main__":
    main()
