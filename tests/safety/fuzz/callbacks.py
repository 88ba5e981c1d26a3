"""Python functions for C to call: some answer, some raise, some answer what is none, some make calls of their own."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from fuzz import scalars
from llamacffi import ctypes_types, ffi

if TYPE_CHECKING:
    from fuzz.calls import Actor

DEEPEST = 2  # calls inside of callbacks inside of calls
ANSWERS: dict[str, tuple[Any, ...]] = {
    "_Bool": (True, False),
    "size_t": (0, 1, 2**63),
    "char *": (b"made in Python", b"", None),
    "struct llama_sampler *": (None, None, 0, 8),
    "mtmd_bitmap_lazy_callback": (-1, -2),  # another answer asks for the next one, for ever
}
ODD_ANSWERS = (*scalars.WRONG_TYPES, -1, 2**64)


@functools.cache
def _names() -> dict[Any, str]:
    """The typedefs of functions by their type."""
    typedefs = ffi.list_types()[0]
    types = {name: ffi.typeof(name) for name in typedefs}
    return {ctype: name for name, ctype in types.items() if ctype.kind == "function"}


def ctypes_type(ctype: Any, owner: str, field: str) -> Any:
    """Find the ctypes type of a callback, by its typedef or by the field that declares it in place."""
    try:
        return ctypes_types.named(_names().get(ctype, f"{owner}_{field}"))
    except AttributeError:
        return None


def make(actor: Actor, ctype: Any, owner: str = "", field: str = "") -> Any:
    """Make a callback of this type, or NULL."""
    type_ = ctypes_type(ctype, owner, field)
    random = actor.random
    if type_ is None or random.random() < 0.2:
        return None
    is_reader = _names().get(ctype) == "gguf_reader_callback_t"
    function = _reader(actor) if is_reader else _function(actor, ctype)
    return ffi.callback(ctype, function, error=_nothing(ctype)) if _is_simple(ctype, random) else type_(function)


def _is_simple(ctype: Any, random: Random) -> bool:
    """Now and then let cffi make it, where its arguments and its answer are numbers."""
    return random.random() < 0.1 and ctype.result.cname in ("void", "_Bool")


def _nothing(ctype: Any) -> Any:
    return None if ctype.result.cname == "void" else False


def _function(actor: Actor, ctype: Any) -> Callable[..., Any]:
    own = Random(actor.random.getrandbits(32))
    depth = actor.depth + 1
    wildness = own.choice((0.0, 0.02, 0.3))
    usually = ANSWERS.get(ctype.result.cname, (None,) if ctype.result.cname == "void" else (0,))
    answers = ANSWERS.get(_names().get(ctype, ""), usually)
    usual = own.choice(answers)
    # A number for a text would be an address that the caller made up.
    odd = scalars.WRONG_TYPES if ctype.result.cname == "char *" else ODD_ANSWERS

    def function(*given: Any) -> Any:
        if own.random() >= wildness:
            return usual
        action = own.choice(("raise", "call", "odd", "other"))
        if action == "raise":
            raise scalars.Planned("in a callback")
        if action == "call" and depth <= DEEPEST:
            actor.inside(own, depth).step()
        return own.choice(odd) if action == "odd" else own.choice(answers)

    return function


def _reader(actor: Actor) -> Callable[..., int]:
    """Read a file of the seed, as gguf_init_from_callback wants it, and now and then less or more than was asked."""
    own = Random(actor.random.getrandbits(32))
    path = own.choice(actor.world.models)
    contents = path.read_bytes() if path.exists() else b""

    def read(data: Any, output: int, offset: int, count: int) -> int:
        part = contents[offset : offset + min(count, 2**20)]
        if output:
            ctypes.memmove(output, part, len(part))
        return len(part) if own.random() < 0.95 else own.choice((0, len(part) + 1, 2**63))

    return read
