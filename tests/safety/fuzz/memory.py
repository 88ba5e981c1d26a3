"""What is behind a pointer: arrays and texts in all the forms that Python has for them, good ones and odd ones."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from fuzz import scalars
from llamacffi import ctypes_types, ffi

NUMBERS = (ctypes.c_int32, ctypes.c_uint8, ctypes.c_float, ctypes.c_size_t, ctypes.c_uint16)
COUNTS = (0, 1, 1, 2, 3, 4, 8, 16, 64, 256)


def item_type(ctype: Any) -> Any:
    """Return the ctypes type of what a pointer to numbers, structs, bytes or pointers points to."""
    item = ctype.item
    if item.kind == "void":
        return ctypes.c_uint8
    if item.kind == "pointer":
        return ctypes.c_char_p if item.item.cname == "char" else ctypes.c_void_p
    if item.kind == "function":
        return ctypes.c_void_p
    if item.kind == "array":
        return item_type(item) * item.length
    if item.kind == "enum":
        return ctypes.c_int
    return ctypes_types.named(str(item.cname).removeprefix("struct "))


def filled(ctype: Any, name: str, count: int, random: Random) -> Any:
    """Make a ctypes array of `count` numbers that are good for that name."""
    array = (item_type(ctype) * count)()
    if ctype.item.kind == "primitive" and ctype.item.cname != "char":
        kind = "token" if "token" in name else name
        for index in range(min(count, 16)):
            array[index] = _fitting(scalars.number(kind, ctype.item, random), ctype.item)
    return array


def _fitting(value: Any, ctype: Any) -> Any:
    return value if scalars.is_float(ctype) or ctype.cname == "_Bool" else int(value)


# ---------------------------------------------------------------- forms of an array


def _as_cdata(array: Any, random: Random) -> Any:
    return ffi.from_buffer("char[]" if random.random() < 0.5 else "uint8_t[]", array)


def _as_numpy(array: Any, random: Random) -> Any:
    return np.ctypeslib.as_array(array) if array._type_ in NUMBERS else array


def _as_list(array: Any, random: Random) -> Any:
    return list(array)


def _as_part(array: Any, random: Random) -> Any:
    """Point to one of the items; those before it are not handed in."""
    return ctypes.byref(array, ctypes.sizeof(array._type_) * random.randint(0, len(array)))


FORMS: tuple[Callable[[Any, Random], Any], ...] = (
    _as_cdata,
    _as_numpy,
    _as_list,
    _as_part,
    lambda array, random: bytearray(array),
    lambda array, random: memoryview(array),
    lambda array, random: ctypes.byref(array),
    lambda array, random: (array._type_ * len(array)).from_buffer(array),
)

# Not among them: cdata that was released, which is an address of nothing. cffi tells it apart in its repr() alone.
ODD_FORMS: tuple[Callable[[Any, Random], Any], ...] = (
    lambda array, random: None,
    lambda array, random: (array._type_ * 0)(),
    lambda array, random: (array._type_ * (len(array) // 2))(),
    lambda array, random: (ctypes.c_double * len(array))(),
    lambda array, random: bytes(array),
    lambda array, random: ctypes.byref(array, -8),
    lambda array, random: ctypes.byref(array, ctypes.sizeof(array)),
    lambda array, random: ctypes.byref(array, 2**40),
    lambda array, random: ctypes.byref(array, 1),
    lambda array, random: np.zeros(2 * len(array) + 2, np.float32)[::2],
    lambda array, random: ffi.new("float[]", max(1, len(array) // 2)),
    lambda array, random: ffi.NULL,
    lambda array, random: random.choice(scalars.WRONG_TYPES),
    lambda array, random: array._type_,
    lambda array, random: 0,
)


def form(array: Any, random: Random) -> Any:
    """Hand in an array as one of what Python has for it."""
    return array if random.random() < 0.7 else random.choice(FORMS)(array, random)


def odd_form(array: Any, random: Random) -> Any:
    return random.choice(ODD_FORMS)(array, random)


# ---------------------------------------------------------------- texts

TEXT_FORMS: tuple[Callable[[bytes], Any], ...] = (
    lambda text: text.decode("latin-1").replace("\0", "") if text.isascii() else text,
    lambda text: bytearray(text + b"\0"),
    lambda text: ctypes.c_char_p(text),
    lambda text: ctypes.create_string_buffer(text),
    lambda text: ffi.new("char[]", text),
)

ODD_TEXTS: tuple[Any, ...] = (
    None,
    b"in\0side",
    "in\0side",
    "\udcff",
    bytearray(b"without end"),
    bytearray(),
    b"\xff\xfe",
    0,
    1.5,
    ctypes.c_char_p(),
    ffi.NULL,
    b"(" * 5000,
    b"y" * 100_000,
)


def text(value: bytes, random: Random) -> Any:
    return value if random.random() < 0.7 else random.choice(TEXT_FORMS)(value)


def odd_text(random: Random) -> Any:
    return random.choice(ODD_TEXTS)
