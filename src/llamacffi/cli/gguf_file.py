"""What a GGUF file says: its metadata and its tensors, read by ggml's own functions, without the weights."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from llamacffi import llama_cpp
from llamacffi.cli import CommandError, engine

ARRAY = llama_cpp.GGUF_TYPE_ARRAY
STRING = llama_cpp.GGUF_TYPE_STRING

# By GGUF's type: what reads a value of it, and the ctypes type of an array's items.
READERS: dict[int, tuple[Callable[[int, int], Any], Any]] = {
    llama_cpp.GGUF_TYPE_UINT8: (llama_cpp.gguf_get_val_u8, ctypes.c_uint8),
    llama_cpp.GGUF_TYPE_INT8: (llama_cpp.gguf_get_val_i8, ctypes.c_int8),
    llama_cpp.GGUF_TYPE_UINT16: (llama_cpp.gguf_get_val_u16, ctypes.c_uint16),
    llama_cpp.GGUF_TYPE_INT16: (llama_cpp.gguf_get_val_i16, ctypes.c_int16),
    llama_cpp.GGUF_TYPE_UINT32: (llama_cpp.gguf_get_val_u32, ctypes.c_uint32),
    llama_cpp.GGUF_TYPE_INT32: (llama_cpp.gguf_get_val_i32, ctypes.c_int32),
    llama_cpp.GGUF_TYPE_FLOAT32: (llama_cpp.gguf_get_val_f32, ctypes.c_float),
    llama_cpp.GGUF_TYPE_BOOL: (llama_cpp.gguf_get_val_bool, ctypes.c_bool),
    llama_cpp.GGUF_TYPE_UINT64: (llama_cpp.gguf_get_val_u64, ctypes.c_uint64),
    llama_cpp.GGUF_TYPE_INT64: (llama_cpp.gguf_get_val_i64, ctypes.c_int64),
    llama_cpp.GGUF_TYPE_FLOAT64: (llama_cpp.gguf_get_val_f64, ctypes.c_double),
}


class Tensor(NamedTuple):
    """One tensor, as the file describes it."""

    name: str
    type: str
    shape: list[int]
    """As ggml has it: the first number is that of the values which lie beside each other."""
    size: int
    """In bytes."""

    @property
    def parameters(self) -> int:
        number = 1
        for length in self.shape:
            number *= length
        return number


class File(NamedTuple):
    """A GGUF file."""

    version: int
    metadata: dict[str, Any]
    tensors: list[Tensor]


def read(path: Path) -> File:
    """Read what a file says.

    Raises:
        CommandError: it is no GGUF file, or a broken one.
        OSError: it cannot be read.
    """
    length = path.stat().st_size
    with _opened(path) as gguf:
        file = File(
            llama_cpp.gguf_get_version(gguf),
            dict(_pair(gguf, index) for index in range(llama_cpp.gguf_get_n_kv(gguf))),
            [_tensor(gguf, index) for index in range(llama_cpp.gguf_get_n_tensors(gguf))],
        )
        if (end := _end(gguf, file.tensors)) > length:
            raise CommandError(f"{path} is cut off: it has {length:,} bytes, and its tensors end at {end:,}")
    return file


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    params = llama_cpp.gguf_init_params(no_alloc=True, ctx=None)
    gguf: int | None = llama_cpp.gguf_init_from_file(os.fsencode(path), params)
    if not gguf:
        raise CommandError(f"{path} is no GGUF file that can be read: {engine.reason()}")
    try:
        yield gguf
    finally:
        llama_cpp.gguf_free(gguf)


def _pair(gguf: int, index: int) -> tuple[str, Any]:
    return text(llama_cpp.gguf_get_key(gguf, index)), _value(gguf, index)


def _value(gguf: int, index: int) -> Any:
    kind = llama_cpp.gguf_get_kv_type(gguf, index)
    if kind == ARRAY:
        return _array(gguf, index)
    if kind == STRING:
        return text(llama_cpp.gguf_get_val_str(gguf, index))
    return READERS[kind][0](gguf, index)


def _array(gguf: int, index: int) -> list[Any]:
    length = llama_cpp.gguf_get_arr_n(gguf, index)
    kind = llama_cpp.gguf_get_arr_type(gguf, index)
    if kind == STRING:
        return [text(llama_cpp.gguf_get_arr_str(gguf, index, place)) for place in range(length)]
    items = ctypes.cast(llama_cpp.gguf_get_arr_data(gguf, index), ctypes.POINTER(READERS[kind][1]))
    return list(items[:length])


def _tensor(gguf: int, index: int) -> Tensor:
    return Tensor(
        text(llama_cpp.gguf_get_tensor_name(gguf, index)),
        text(llama_cpp.ggml_type_name(llama_cpp.gguf_get_tensor_type(gguf, index))),
        _shape(llama_cpp.gguf_get_tensor_ne(gguf, index)),
        llama_cpp.gguf_get_tensor_size(gguf, index),
    )


def _shape(lengths: Any) -> list[int]:
    shape = list(lengths[: llama_cpp.GGML_MAX_DIMS])
    while len(shape) > 1 and shape[-1] == 1:
        shape.pop()
    return shape


def _end(gguf: int, tensors: list[Tensor]) -> int:
    """Return where the last tensor ends in the file."""
    ends = [llama_cpp.gguf_get_tensor_offset(gguf, index) + tensor.size for index, tensor in enumerate(tensors)]
    return int(llama_cpp.gguf_get_data_offset(gguf) + max(ends, default=0))


def text(given: bytes) -> str:
    return given.decode("utf-8", "replace")
