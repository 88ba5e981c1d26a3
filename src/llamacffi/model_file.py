"""Write a model file so that a half-written one never stands under its name."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from llamacffi._native import LlamaError, ffi, lib, set_last_error

if TYPE_CHECKING:
    from collections.abc import Callable


def save(write: Callable[[Any, bytes], None], model: Any, fname: bytes | str | os.PathLike[str]) -> bool:
    """Write `model` to `fname` by the C function `write`; tell whether the whole file stands there."""
    target = pathlib.Path(os.fsdecode(fname))
    try:
        target = target.resolve(strict=False)  # a link stays, and what it points to is written
        if target.exists() and not target.is_file():
            return _failed(target, "it is there and no regular file")
        handle, name = tempfile.mkstemp(prefix=".llamacffi-", suffix=".part", dir=target.parent)
        partial = pathlib.Path(name)
        os.close(handle)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a loop
        return _failed(target, error)
    try:
        write(model, os.fsencode(partial))
        if not is_complete(partial):
            return _failed(target, "the file is shorter than its contents; is the disk full?")
        _sync(partial)
        _copy_mode(target, partial)
        partial.replace(target)
    except (OSError, LlamaError) as error:
        if isinstance(error, ValueError):  # the model is no model: the caller's mistake, not the disk's
            raise
        return _failed(target, error)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return True


def is_complete(path: pathlib.Path) -> bool:
    """Tell whether `path` is a GGUF file as long as its tensor table says."""
    params = ffi.new("struct gguf_init_params *", {"no_alloc": True, "ctx": ffi.NULL})
    gguf = lib.gguf_init_from_file(os.fsencode(path), params[0])
    if not gguf:
        return False
    try:
        count = lib.gguf_get_n_tensors(gguf)
        ends = [lib.gguf_get_tensor_offset(gguf, i) + lib.gguf_get_tensor_size(gguf, i) for i in range(count)]
        return bool(path.stat().st_size >= lib.gguf_get_data_offset(gguf) + max(ends, default=0))
    finally:
        lib.gguf_free(gguf)


def _sync(path: pathlib.Path) -> None:
    """Wait until the contents are on disk; a delayed write error comes out here."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _copy_mode(target: pathlib.Path, partial: pathlib.Path) -> None:
    """Give the new file the mode of the one it replaces, or what the umask leaves of a plain new file."""
    if target.exists():
        partial.chmod(target.stat().st_mode & 0o7777)
        return
    mask = os.umask(0)
    os.umask(mask)
    partial.chmod(0o666 & ~mask)


def _failed(target: pathlib.Path, reason: object) -> bool:
    text = f"llama_model_save_to_file: {target} was not written: {reason}"
    set_last_error(text)
    print(text, file=sys.stderr)
    return False
