"""Arguments as they are read in a record: short, and with the names of handles."""

from __future__ import annotations

import ctypes
from typing import Any

from fuzz.world import World

LONGEST = 60
LEAST_ADDRESS = 2**32


def described(world: World, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= LEAST_ADDRESS:
        return world.name_of(value)
    if isinstance(value, bytes | bytearray) and len(value) > LONGEST:
        return f"{type(value).__name__} of {len(value)} {bytes(value[:40])!r}"
    if isinstance(value, ctypes.Structure):
        return _structure(world, value)
    if isinstance(value, ctypes.Array):
        return f"{value._type_.__name__} * {len(value)}"
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _structure(world: World, value: ctypes.Structure) -> str:
    """Tell the fields that are set."""
    fields = []
    for field in value._fields_:
        one = getattr(value, field[0])
        if one is not None and one != 0 and not isinstance(one, ctypes.Array | ctypes.Union):
            fields.append(f"{field[0]}={described(world, one)}")
    return f"{type(value).__name__}({', '.join(fields)})"
