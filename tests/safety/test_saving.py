"""A file that a live model has mapped is not written over: the system would end the process at the model's next use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamacffi import LlamaValueError
from llamacffi import llama_cpp as llama
from support import gguf_files
from support.cells import refused, returns
from support.objects import context_of, decode, ints, load

Write = Callable[[Any, bytes], Any]

WRITES: dict[str, Write] = {
    "llama_state_save_file": lambda ctx, path: llama.llama_state_save_file(ctx, path, ints(1), 1),
    "llama_save_session_file": lambda ctx, path: llama.llama_save_session_file(ctx, path, ints(1), 1),
    "llama_state_seq_save_file": lambda ctx, path: llama.llama_state_seq_save_file(ctx, path, 0, ints(1), 1),
    "gguf_write_to_file": lambda ctx, path: llama.gguf_write_to_file(llama.gguf_init_empty(), path, True),
    "ggml_fopen": lambda ctx, path: llama.ggml_fopen(path, b"wb"),
}
SAYS = r"a model that is in use has its memory in the file .+/own\.gguf: write to another one, or free the model first"


def copied(folder: Path) -> Path:
    return Path(shutil.copy(gguf_files.shared(), folder / "own.gguf"))


@pytest.mark.parametrize("name", WRITES)
@refused(LlamaValueError, lambda name: rf"{name}\(\): {SAYS}")
def test_a_mapped_file_is_not_written_over(name: str, folder: Path) -> None:
    path = copied(folder)
    ctx = context_of(load(path))
    try:
        WRITES[name](ctx, os.fsencode(path))
    finally:
        assert decode(ctx) == 0


@pytest.mark.parametrize("name", WRITES)
@returns(True)
def test_a_file_that_is_no_longer_mapped_is_written_over(name: str, folder: Path, ctx: Any) -> bool:
    path = copied(folder)
    llama.llama_model_free(load(path))
    before = path.read_bytes()
    WRITES[name](ctx, os.fsencode(path))
    return path.read_bytes() != before


@returns(0)
def test_a_model_that_was_read_without_mapping_keeps_nothing_of_its_file(folder: Path) -> int:
    path = copied(folder)
    ctx = context_of(load(path, load_mode=llama.LLAMA_LOAD_MODE_NONE))
    assert llama.llama_state_save_file(ctx, os.fsencode(path), ints(1), 1)
    return decode(ctx)


@returns((0, True))
def test_a_mapped_file_is_replaced_by_saving_and_stays_for_its_model(folder: Path) -> object:
    """What is saved has another name until it is whole, so the file that is mapped is not cut off."""
    path = copied(folder)
    model = load(path)
    saved = llama.llama_model_save_to_file(model, os.fsencode(path))
    return decode(context_of(model)), saved
