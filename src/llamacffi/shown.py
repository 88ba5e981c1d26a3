"""How structs and callbacks print: their fields, with names for the values of enums. Imported when one is printed.

Nothing that a pointer points to is read: it may not be there any more.
"""

from __future__ import annotations

import ctypes
from typing import Any

from llamacffi._native import ffi

ITEMS = 6  # so many of an array are shown


def struct(given: Any, ctype: Any) -> str:
    """Return `name(field=value, …)` for a ctypes struct of the C type `ctype`."""
    shown = (f"{field}={_field(given, field, info)}" for field, info in ctype.fields)
    return f"{type(given).__name__}({', '.join(shown)})"


def callback(given: Any) -> str:
    """Return the name of a callback's type, and where C would call it."""
    address = _address_in(given, 0)
    return f"<{type(given).__name__} at {address:#x}>" if address else f"<{type(given).__name__}, NULL>"


def _field(given: Any, field: str, info: Any) -> str:
    if info.type.kind in ("pointer", "function"):
        return _pointer(_address_in(given, info.offset), info.type)
    return _value(getattr(given, field), info.type)


def _value(value: Any, ctype: Any) -> str:
    if ctype.kind == "enum":
        return str(ctype.elements.get(value, value))
    if ctype.kind == "array" and not isinstance(value, bytes):
        return _array(value, ctype)
    return repr(value)


def _array(value: Any, ctype: Any) -> str:
    items = [_value(one, ctype.item) for one in value[:ITEMS]]
    return f"[{', '.join(items)}{', …' if len(value) > ITEMS else ''}]"


def _address_in(given: Any, offset: int) -> int:
    return ctypes.c_void_p.from_buffer(given, offset).value or 0


def _pointer(address: int, ctype: Any) -> str:
    name = ffi.getctype(ctype).replace("(*)", "*") if ctype.kind == "pointer" else "callback"
    return f"<{name} at {address:#x}>" if address else "None"
