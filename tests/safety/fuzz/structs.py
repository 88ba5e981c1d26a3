"""Structs, their fields filled by type and name: good ones, and ones with odd fields."""

from __future__ import annotations

import contextlib
import ctypes
from random import Random
from typing import TYPE_CHECKING, Any

from fuzz import callbacks, memory, scalars
from fuzz.functions import kind_of
from llamacffi import ctypes_types, ffi

if TYPE_CHECKING:
    from fuzz.calls import Actor

BATCH = "llama_batch"
ITEMS = 300  # behind a pointer in a struct
# Fields that say how many. Nobody can tell how much is behind a pointer in a struct, so they are never too large:
# docs/safety.md has it among the limits.
COUNTS = {"size": (0, 1, 10, 275), "n_rows": (0, 1, 1, 2), "n_embd": (0, 32, 32, 31), "n_samplers": (0, 1, 2)}
COUNTS |= dict.fromkeys(("text_len", "prompt_len", "n_codes", "n_feats", "state_size"), (0, 1, 2, 10))


def plain(ctype: Any) -> str:
    return str(ctype.cname).removeprefix("struct ")


def value(actor: Actor, name: str, is_odd: bool) -> Any:
    """Make a struct: one that a call returned, with some fields changed, or a new one with all of them set."""
    if name == BATCH:
        return batch(actor, is_odd)
    known = actor.world.values.get(name)
    if not known:
        return new(actor, name, is_odd)
    type_ = ctypes_types.named(name)
    made = type_.from_buffer_copy(actor.random.choice(known))
    for field, info in ffi.typeof(_spelled(name)).fields:
        if actor.random.random() < 0.08:
            set_field(actor, made, name, field, info.type, is_odd and actor.random.random() < 0.5)
    return made


def new(actor: Actor, name: str, is_odd: bool = False) -> Any:
    made = ctypes_types.named(name)()
    for field, info in ffi.typeof(_spelled(name)).fields:
        set_field(actor, made, name, field, info.type, is_odd and actor.random.random() < 0.2)
    return made


def _spelled(name: str) -> str:
    try:
        ffi.typeof(f"struct {name}")
    except ffi.error:
        return name
    return f"struct {name}"


def set_field(actor: Actor, made: Any, owner: str, field: str, ctype: Any, is_odd: bool) -> None:
    """Set one field; what ctypes does not let in stays as it was."""
    with contextlib.suppress(TypeError, ValueError, OverflowError, scalars.Planned, ctypes.ArgumentError):
        setattr(made, field, _field(actor, made, owner, field, ctype, is_odd))


def _field(actor: Actor, made: Any, owner: str, field: str, ctype: Any, is_odd: bool) -> Any:
    random = actor.random
    if field in COUNTS:
        return random.choice(COUNTS[field])
    if ctype.kind in ("primitive", "enum"):
        return scalars.odd_number(ctype, random) if is_odd else scalars.number(field, ctype, random)
    if ctype.kind == "function":
        return callbacks.make(actor, ctype, owner, field) or getattr(made, field)
    if ctype.kind == "array":
        return _array_field(actor, made, field, ctype)
    if ctype.kind == "pointer":
        return _pointer_field(actor, made, field, ctype, is_odd)
    return getattr(made, field)


def _array_field(actor: Actor, made: Any, field: str, ctype: Any) -> Any:
    if ctype.item.cname == "char":
        return actor.text()[: ctype.length - 1]
    array = getattr(made, field)
    array[actor.random.randrange(ctype.length)] = actor.random.randint(0, 1)
    return array


def _pointer_field(actor: Actor, made: Any, field: str, ctype: Any, is_odd: bool) -> Any:
    random, item = actor.random, ctype.item
    if is_odd and random.random() < 0.5:
        return None
    if kind_of(ctype):
        return actor.handle(kind_of(ctype), is_odd)
    if item.kind == "pointer":
        handles = [actor.handle(kind_of(item), is_odd) for _ in range(random.randint(0, 2))] if kind_of(item) else []
        return (ctypes.c_void_p * (len(handles) + 1))(*handles)
    if item.cname == "char":
        return actor.text()
    if item.kind == "void":
        return random.choice((None, 0, 8)) if field.endswith(("user_data", "_ud", "callback_data")) else None
    if (
        item.kind == "struct"
        and isinstance(getattr(type(made), field).size, int)
        and item.cname != "struct ggml_tensor"
    ):
        # The one behind the last is zero, as ends those lists that have no length.
        many = [new(actor, plain(item), is_odd) for _ in range(random.randint(0, 3))]
        return (ctypes_types.named(plain(item)) * ITEMS)(*many)
    return _numbers(ctype, field, random) if item.kind == "primitive" else None


def _numbers(ctype: Any, field: str, random: Random) -> Any:
    """Fill an array that ends where C expects it to: layers that are pruned have no other length than a -1."""
    array = memory.filled(ctype, field, ITEMS, random)
    if not scalars.is_float(ctype.item):
        array[ITEMS - 1] = -1
    return array


# ---------------------------------------------------------------- batches


def fill(actor: Actor, batch: Any, n_tokens: int, embd: int, n_seq_max: int) -> None:
    """Fill what `llama_batch_init` has allocated, before anything else can free it."""
    random = actor.random
    first = random.choice((0, 0, 3))
    batch.n_tokens = min(n_tokens, random.choice((1, 3, 8)))
    for index in range(batch.n_tokens):
        batch.pos[index], batch.n_seq_id[index], batch.logits[index] = first + index, min(1, n_seq_max), index % 2
        if n_seq_max > 0:
            batch.seq_id[index][0] = random.choice((0, 0, 1))
        if not embd:
            batch.token[index] = scalars.number("token", ffi.typeof("int"), random)
    if embd:
        ctypes.memset(batch.embd, 0, 4 * n_tokens * embd)


INT = ctypes.c_int32
SWAPS: dict[str, Any] = {"token": INT, "embd": ctypes.c_float, "pos": INT, "logits": ctypes.c_int8}


def batch(actor: Actor, is_odd: bool) -> Any:
    """Choose a batch that a call returned; an odd one has members of Python's, or none, or another count."""
    known = actor.world.values.get(BATCH)
    if not known:
        return ctypes_types.named(BATCH)()
    chosen = actor.random.choice(known)
    if is_odd:
        _spoil(actor, chosen)
    return chosen


def _spoil(actor: Actor, batch: Any) -> None:
    random = actor.random
    member = random.choice(("n_tokens", "n_seq_id", "seq_id", *SWAPS))
    if member == "n_tokens":
        batch.n_tokens = random.choice((0, 1, -1, 3, 2**31 - 1))
    elif member in SWAPS and random.random() < 0.7:
        setattr(batch, member, (SWAPS[member] * 512)())
    else:
        setattr(batch, member, None)
