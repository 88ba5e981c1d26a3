"""The arguments of one call: by the types of its parameters, and by what the policy says of their lengths."""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Any

import damage

from fuzz import callbacks, memory, scalars, structs
from fuzz.functions import Function, Parameter, is_trusted, known, lengths
from llamacffi import ctypes_types, ffi
from support import tiny_projector

if TYPE_CHECKING:
    from fuzz.calls import Actor

MADE_UP = (8, 1, 2**31 - 1, 2**63, -1, 2**64 - 1, 0xDEAD0000)
KEYS = (b"general.architecture", b"general.alignment", b"a", b"b", b"c")
STATE_SIZES = (0, 16, 4096, 65536, 262144)


def choose(actor: Actor, function: Function) -> list[Any]:
    """Make an argument for each parameter."""
    counts = {length: actor.random.choice(memory.COUNTS) for _, length in lengths(function)}
    given = {one.name: _argument(actor, function, one, counts) for one in function.parameters}
    for pointer, length in lengths(function):
        if length in given and not actor.is_odd():
            given[length] = _length(given[pointer.name], counts[length], pointer)
    return list(given.values())


def _length(pointer: Any, count: int, parameter: Parameter) -> int:
    """How many items were handed in, in the end: a state has its own size."""
    if isinstance(pointer, bytes | bytearray | ctypes.Array):
        return len(pointer)
    return count if parameter.texts or pointer is not None else 0


def _argument(actor: Actor, function: Function, parameter: Parameter, counts: dict[str, int]) -> Any:
    is_odd = actor.is_odd()
    ctype, name = parameter.ctype, parameter.name
    if ctype.kind in ("primitive", "enum"):
        return scalars.odd_number(ctype, actor.random) if is_odd else scalars.number(name, ctype, actor.random)
    is_many = bool(parameter.length or parameter.items)
    if ctype.kind == "function" or (ctype.kind == "pointer" and ctype.item.kind == "function" and not is_many):
        return callbacks.make(actor, ctype)
    if ctype.kind == "struct":
        return struct(actor, structs.plain(ctype), is_odd)
    if parameter.kind and ctype.item.kind != "pointer":
        if parameter.nullable and actor.random.random() < 0.3:
            return None
        return as_handle(actor, ctype, handle(actor, parameter.kind, is_odd))
    return pointer(actor, function, parameter, counts, is_odd)


def struct(actor: Actor, name: str, is_odd: bool) -> Any:
    made = structs.value(actor, name, is_odd)
    chance = actor.random.random()
    if is_odd and chance < 0.1:
        return actor.random.choice((None, 0, ffi.NULL, ctypes.byref(made), ctypes_types.named(name)))
    return made


# ---------------------------------------------------------------- handles


def handle(actor: Actor, kind: str, is_odd: bool) -> Any:
    """Choose a handle that should be alive; an odd one is freed, of another kind, or none."""
    live = actor.world.live[kind]
    if not is_odd:
        return actor.random.choice(live) if live else None
    chance = actor.random.random()
    freed = actor.world.freed[kind]
    if chance < 0.4 and freed:
        return actor.random.choice(freed)
    if chance < 0.7 and not _is_untracked(kind) and (not is_trusted(kind) or actor.is_alone):
        return _of_another_kind(actor, is_trusted(kind))
    return None if is_trusted(kind) else actor.random.choice((None, 0, *MADE_UP))


def _of_another_kind(actor: Actor, is_trusted_there: bool) -> Any:
    """Choose a handle of another kind; for one that trusts what the table does not know, one that is surely alive."""
    others = [handles for kind, handles in actor.world.live.items() if handles and _can_pose(kind, is_trusted_there)]
    return actor.random.choice(actor.random.choice(others)) if others else None


def _can_pose(kind: str, is_trusted_there: bool) -> bool:
    return not _is_untracked(kind) and not (is_trusted_there and known().kinds[kind].get("dies_with_owner"))


def _is_untracked(kind: str) -> bool:
    return bool(known().kinds[kind].get("untracked"))


def as_handle(actor: Actor, ctype: Any, handle: Any) -> Any:
    """Hand in a handle as the int that it is, or as ctypes and cffi have it."""
    chance = actor.random.random()
    if chance < 0.9 or not isinstance(handle, int) or not 0 < handle < 2**63:
        return handle
    if chance < 0.93 and parameter_has_fields(ctype):
        return ctypes.cast(handle, ctypes.POINTER(ctypes_types.named(structs.plain(ctype.item))))
    return ctypes.c_void_p(handle) if chance < 0.95 else ffi.cast(ctype, handle)


# ---------------------------------------------------------------- pointers


def pointer(actor: Actor, function: Function, parameter: Parameter, counts: dict[str, int], is_odd: bool) -> Any:
    """Make what is behind a pointer to numbers, structs, texts or bytes."""
    ctype, random = parameter.ctype, actor.random
    if parameter.is_handed_on:
        return random.choice((None, 0, 8, 2**63))
    if parameter.nullable and random.random() < 0.3:
        return None
    if ctype.item.cname == "char" and not (parameter.length or parameter.items):
        return (
            memory.odd_text(random) if is_odd else memory.text(text(actor, f"{function.name} {parameter.name}"), random)
        )
    count = counts[parameter.length] if parameter.length else parameter.items or 1
    array = _array(actor, parameter, count)
    if isinstance(array, bytes):
        return array
    return memory.odd_form(array, random) if is_odd else memory.form(array, random)


def _array(actor: Actor, parameter: Parameter, count: int) -> Any:
    ctype, random = parameter.ctype, actor.random
    if parameter.name in ("src", "dst") and ctype.item.cname == "uint8_t":
        return _state(actor, parameter.name)
    if ctype.item.cname == "void" and not (parameter.length or parameter.items):
        count = random.choice((0, 64, 4096, 65536))
    if parameter.kind and ctype.item.kind == "pointer":
        return (ctypes.c_void_p * count)(*[handle(actor, parameter.kind, False) for _ in range(count)])
    if ctype.item.kind == "pointer" and ctype.item.item.kind == "struct":
        return _pointers_to_structs(actor, structs.plain(ctype.item.item), count)
    if parameter.texts and ctype.item.kind == "pointer":
        return (ctypes.c_char_p * count)(*[text(actor, parameter.name) for _ in range(count)])
    if ctype.item.kind == "struct":
        made = [structs.value(actor, structs.plain(ctype.item), False) for _ in range(count)]
        return (ctypes_types.named(structs.plain(ctype.item)) * count)(*made)
    if ctype.item.cname == "char":
        return ctypes.create_string_buffer(text(actor, parameter.name), max(count, 400))
    return memory.filled(ctype, parameter.name, count, random)


def _pointers_to_structs(actor: Actor, name: str, count: int) -> Any:
    type_ = ctypes_types.named(name)
    made = [ctypes.pointer(structs.value(actor, name, False)) for _ in range(count)]
    return (ctypes.POINTER(type_) * count)(*made)


def _state(actor: Actor, name: str) -> Any:
    """Make room for a state, or give back one that was taken, whole or damaged."""
    states, random = actor.world.states, actor.random
    if name == "dst" or not states:
        return (ctypes.c_uint8 * random.choice(STATE_SIZES))()
    state = random.choice(states)
    return damage.state(state, random.getrandbits(32)) if state and actor.is_odd() else state


def parameter_has_fields(ctype: Any) -> bool:
    return bool(known().kinds[structs.plain(ctype.item)].get("has_fields"))


def text(actor: Actor, name: str) -> bytes:
    """Choose a text; where the parameter, or what it is called in, speaks of files, a path."""
    if "mmproj" in name and actor.random.random() < 0.9:
        return bytes(actor.world.folder / f"{actor.random.choice([*tiny_projector.KINDS])}.gguf")
    if re.search("path|file|fname|dir", name):
        if "lora" in name and actor.random.random() < 0.7:
            return bytes(actor.world.folder / "adapter.gguf")
        written = re.search("save|write|out", name) and actor.random.random() < 0.95
        return actor.world.written_path(actor.random) if written else actor.world.path(actor.random)
    return actor.random.choice(KEYS if name.endswith(" key") else actor.world.texts)
