"""The documented low-level API: llama.cpp's C functions, constants and types under their own names.

Everything that the extension has is here: functions are its built-ins, constants are ints, and the ctypes types
are made when they are first asked for (`llamacffi.ctypes_types`). What llama-cpp-python's module has beside them is in
`llamacffi.python_names`, in `llamacffi.old_code`, and below.
"""

from __future__ import annotations

import ctypes
import sys

from llamacffi import python_names
from llamacffi._native import functions, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any

globals().update(functions)
globals().update({name: getattr(lib, name) for name in dir(lib) if name not in functions})
globals().update(python_names.NAMES)

LLAMA_MAX_DEVICES: int = lib.llama_max_devices()

llama_model_p = ctypes.POINTER(ctypes.c_void_p)
llama_context_p = ctypes.POINTER(ctypes.c_void_p)
llama_token = ctypes.c_int32
byref = ctypes.byref


_lib_base_name = "llama"  # what llama-cpp-python calls its shared library

_brought: dict[str, Any] = {}


def __getattr__(name: str) -> Any:
    """Bring a ctypes type, or what only old code needs.

    They never become globals: `vars()` of this module has the same names at any time, `dir()` and `*` all of them.
    """
    try:
        return _brought[name]
    except KeyError:
        _brought[name] = value = _bring(name)
        return value


def _bring(name: str) -> Any:
    if name == "__all__":
        return sorted(_public_names())
    from llamacffi import ctypes_types, old_code

    if name in old_code.NAMES:
        return old_code.NAMES[name]
    if name == "_base_path":
        return old_code.base_path()
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    try:
        return ctypes_types.facade_type(name)
    except AttributeError as error:
        from llamacffi.near_names import UnknownName

        raise UnknownName(str(error), name, sys.modules[__name__]) from None


def __dir__() -> list[str]:
    return sorted(_public_names() | set(globals()) | {"_base_path", "_lib"})


def _public_names() -> set[str]:
    from llamacffi import ctypes_types, old_code

    own = {"LLAMA_MAX_DEVICES", "byref", "llama_context_p", "llama_model_p", "llama_token"}
    old = old_code.NAMES.keys() - {"_lib"}
    return own | old | set(dir(lib)) | set(python_names.NAMES) | ctypes_types.facade_type_names()


def llama_model_save_to_file(
    model: Any,
    fname: bytes | str | os.PathLike[str] | None = None,
    *,
    path_model: bytes | str | os.PathLike[str] | None = None,
    **kwargs: object,
) -> bool:
    """Save a model to a GGUF file.

    The file is written under a temporary name in the same folder, read back, synced and then renamed: under
    `fname` stands either what was there before or the whole new file.

    Args:
        model: a model that `llama_model_load_from_file` returned.
        fname: the output file's name.
        path_model: the same, by the header's name for it.

    Returns:
        True when the file stands complete on disk; False when it could not be written (`llamacffi.last_error()`
        and stderr say why) or llama.cpp cannot save this model.

    Raises:
        TypeError: no name or two were given, or another keyword argument; llama.cpp knows none.

    Source: `llama_model_save_to_file` in llama.h.
    """
    if kwargs:
        raise TypeError(f"llama_model_save_to_file() got an unexpected keyword argument {next(iter(kwargs))!r}")
    given = [name for name in (fname, path_model) if name is not None]
    if len(given) != 1:
        raise TypeError(f"llama_model_save_to_file() takes the file's name once, as fname or path_model, not {given}")
    from llamacffi import model_file

    return model_file.save(functions["llama_model_save_to_file"], model, given[0])
