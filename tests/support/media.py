"""mtmd's objects in one line each: projectors for the tiny model, bitmaps, chunks."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from ctypes import byref
from pathlib import Path
from typing import Any

import numpy as np

from llamacffi import LlamaError
from llamacffi import mtmd_cpp as mtmd
from support import pictures, tiny_projector

PROMPT = b"a <__media__> b"

_made: list[tuple[Callable[[Any], None], Any]] = []  # what has 150 MB of addresses, or reads it: how it is freed


@functools.cache
def projector(kind: str = "mlp") -> Path:
    """Return a file of that kind which lasts as long as this process; nobody may change it."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return tiny_projector.write(Path(folder, f"{kind}.gguf"), kind)


def media_of(model: Any, kind: str = "mlp", **fields: Any) -> Any:
    """Make an mtmd context of one of our projectors, which `free_all` frees."""
    return _noted(mtmd.mtmd_free, load_media(projector(kind), model, **fields))


def load_media(path: Path, model: Any, **fields: Any) -> Any:
    """Make an mtmd context that computes on one thread, with these fields of its params; None if it can't be."""
    params = mtmd.mtmd_context_params_default()
    for name, value in {"n_threads": 1, "print_timings": False, "warmup": False, **fields}.items():
        setattr(params, name, value)
    return mtmd.mtmd_init_from_file(os.fsencode(path), model, params)


def batch_of(media: Any) -> Any:
    return _noted(mtmd.mtmd_batch_free, mtmd.mtmd_batch_init(media))


def voice_of(ctx: Any, media: Any) -> Any:
    """Make a generator of sound, which with these models generates none."""
    return _noted(mtmd.mtmd_helper_gen_audio_free, mtmd.mtmd_helper_gen_audio_init(ctx, media))


@functools.cache
def ffmpeg_folder() -> bytes:
    """Return a folder with programs that stand for ffmpeg's: every file is a video of two black frames, two by two."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    told = "width=2\\nheight=2\\nr_frame_rate=1/1\\nnb_frames=2\\nduration=2\\n"
    for name, does in {"ffprobe": f"printf '{told}'", "ffmpeg": "head -c 24 /dev/zero"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{does}\n")
        (folder / name).chmod(0o700)
    return os.fsencode(folder)


def video_of(media: Any) -> Any:
    params = mtmd.mtmd_helper_video_init_params_default()
    params.ffmpeg_bin_dir = ffmpeg_folder()
    return _noted(mtmd.mtmd_helper_video_free, mtmd.mtmd_helper_video_init(media, b"any", params))


def _noted(free: Callable[[Any], None], made: Any) -> Any:
    _made.append((free, made))
    return made


def free_all() -> None:
    """Free what was made here and is alive."""
    while _made:
        free, made = _made.pop()
        with contextlib.suppress(LlamaError):
            free(made)


def picture(width: int = 40, height: int = 30) -> Any:
    return mtmd.mtmd_bitmap_init(width, height, pictures.pixels(width, height).tobytes())


def sound(samples: int = 8000) -> Any:
    noise = np.random.default_rng(1).normal(0, 0.1, samples).astype(np.float32)
    return mtmd.mtmd_bitmap_init_from_audio(samples, noise)


def decoded(media: Any, file: bytes) -> Any:
    """Make a bitmap of a file in memory, or None."""
    return mtmd.mtmd_helper_bitmap_init_from_buf(media, file, len(file), False)


def handles(*bitmaps: Any) -> Any:
    return (ctypes.c_void_p * len(bitmaps))(*bitmaps)


def text_of(prompt: bytes = PROMPT) -> Any:
    return mtmd.mtmd_input_text(text=prompt, text_len=len(prompt), add_special=True, parse_special=True)


def tokenize_media(media: Any, chunks: Any, *bitmaps: Any, prompt: bytes = PROMPT) -> int:
    return int(mtmd.mtmd_tokenize(media, chunks, byref(text_of(prompt)), handles(*bitmaps), len(bitmaps)))


def chunks_of(media: Any, *bitmaps: Any, prompt: bytes = PROMPT) -> Any:
    chunks = mtmd.mtmd_input_chunks_init()
    assert tokenize_media(media, chunks, *bitmaps, prompt=prompt) == 0
    return chunks


def media_chunk(chunks: Any) -> Any:
    """Return the first chunk that is an image or a sound."""
    all_chunks = (mtmd.mtmd_input_chunks_get(chunks, i) for i in range(mtmd.mtmd_input_chunks_size(chunks)))
    return next(one for one in all_chunks if mtmd.mtmd_input_chunk_get_type(one) != mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT)


def image_chunk(media: Any) -> Any:
    return media_chunk(chunks_of(media, picture()))


def evaluate(media: Any, ctx: Any, chunk: Any, n_past: int = 0, n_batch: int = 64) -> int:
    past = ctypes.c_int32()
    return int(mtmd.mtmd_helper_eval_chunk_single(media, ctx, chunk, n_past, 0, n_batch, False, byref(past)))
