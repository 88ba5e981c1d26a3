"""What only old code needs: the fields, functions and names that llama.cpp has given up, and `_lib`.

Code written for an older llama.cpp, or for a ctypes library, goes on as far as it can. Params structs get their old
fields from `FIELDS`, and setting one in `GONE` warns; `llamacffi.llama_cpp` takes `NAMES` when they are first asked
for.
"""

from __future__ import annotations

import ctypes
import functools
import sys

from llamacffi._native import LlamaWarning, function_objects, functions, lib
from llamacffi.engines import EXTENSION
from llamacffi.near_names import suggestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pathlib
    from typing import Any

# ---------------------------------------------------------------- fields

# Fields that this llama.cpp has no more.
GONE = {
    "llama_model_params": {"rpc_servers"},
    "llama_context_params": {"f16_kv", "logits_all", "mul_mat_q", "seed"},
    "llama_batch": {"all_pos_0", "all_pos_1", "all_seq_id"},
}


# Pointers that are a `c_void_p` in llama-cpp-python: None where they are NULL, set by whatever has an address.
VOID_POINTERS = {
    "llama_model_params": ("devices", "tensor_buft_overrides"),
    "llama_sampler_seq_config": ("sampler",),
}


def warn_of_unknown(struct: str, field: str, known: list[str]) -> None:
    """Warn the code that sets what is no field of a struct, and which C never sees."""
    import warnings

    category: type[Warning]
    if field in GONE.get(struct, ()):
        text, category = f"{struct}.{field} is gone from llama.cpp and has no effect", DeprecationWarning
    else:
        text = f"{struct} has no field {field!r}, and C does not see what is set there{suggestion(field, known)}"
        category = LlamaWarning
    warnings.warn(text, category, stacklevel=4)


class LoadMode:
    """`use_mmap` and `use_mlock`, which llama.cpp has merged into `load_mode`."""

    __slots__ = ()
    if TYPE_CHECKING:
        load_mode: Any

    @property
    def use_mmap(self) -> bool:
        return self.load_mode in (lib.LLAMA_LOAD_MODE_AUTO, lib.LLAMA_LOAD_MODE_MMAP, lib.LLAMA_LOAD_MODE_MMAP_MLOCK)

    @use_mmap.setter
    def use_mmap(self, value: bool) -> None:
        self._set_load_mode(bool(value), self.use_mlock)

    @property
    def use_mlock(self) -> bool:
        return self.load_mode in (lib.LLAMA_LOAD_MODE_MLOCK, lib.LLAMA_LOAD_MODE_MMAP_MLOCK)

    @use_mlock.setter
    def use_mlock(self, value: bool) -> None:
        self._set_load_mode(self.use_mmap, bool(value))

    def _set_load_mode(self, mmap: bool, mlock: bool) -> None:
        modes = {
            (False, False): lib.LLAMA_LOAD_MODE_NONE,
            (True, False): lib.LLAMA_LOAD_MODE_MMAP,
            (False, True): lib.LLAMA_LOAD_MODE_MLOCK,
            (True, True): lib.LLAMA_LOAD_MODE_MMAP_MLOCK,
        }
        self.load_mode = modes[mmap, mlock]


class FlashAttention:
    """`flash_attn`, which llama.cpp has replaced by `flash_attn_type`."""

    __slots__ = ()
    if TYPE_CHECKING:
        flash_attn_type: Any

    @property
    def flash_attn(self) -> bool:
        return bool(self.flash_attn_type == lib.LLAMA_FLASH_ATTN_TYPE_ENABLED)

    @flash_attn.setter
    def flash_attn(self, value: bool) -> None:
        enabled, disabled = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED, lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.flash_attn_type = enabled if value else disabled


FIELDS: dict[str, tuple[type, ...]] = {
    "llama_model_params": (LoadMode,),
    "llama_context_params": (FlashAttention,),
}

# ---------------------------------------------------------------- functions


def _warn(name: str, replacement: str) -> None:
    import warnings

    warnings.warn(f"{name} is deprecated; use {replacement} instead", DeprecationWarning, stacklevel=3)


def llama_set_adapter_lora(ctx: Any, adapter: Any, scale: float) -> int:
    """Apply one LoRA adapter to a context, with a DeprecationWarning.

    Args:
        ctx: the context.
        adapter: what `llama_adapter_lora_init` returned.
        scale: the adapter's weight.

    Returns:
        0, or -1 where the adapter could not be set.

    Source: `llama_set_adapters_lora` in llama.h.
    """
    _warn("llama_set_adapter_lora", "llama_set_adapters_lora")
    pointer = ctypes.POINTER(ctypes.c_void_p)
    adapters = (pointer * 1)(ctypes.cast(adapter, pointer))
    status: int = functions["llama_set_adapters_lora"](ctx, adapters, 1, (ctypes.c_float * 1)(scale))
    return status


def llama_apply_adapter_cvec(ctx: Any, data: Any, len: int, n_embd: int, il_start: int, il_end: int) -> int:
    """Apply a control vector to a context, with a DeprecationWarning.

    Args:
        ctx: the context.
        data: `len` floats, `n_embd` for each layer from layer 1; None clears what was set.
        len: how many floats there are.
        n_embd: how many belong to a layer.
        il_start: the first layer that they are for.
        il_end: the last one.

    Returns:
        0, or another number where it could not be set.

    Source: `llama_set_adapter_cvec` in llama.h.
    """
    _warn("llama_apply_adapter_cvec", "llama_set_adapter_cvec")
    status: int = functions["llama_set_adapter_cvec"](ctx, data, len, n_embd, il_start, il_end)
    return status


# ---------------------------------------------------------------- the library


@functools.cache
def objects() -> dict[str, Any]:
    """Return the functions as objects that have attributes, as those of a ctypes library have them: always the same."""
    return dict(function_objects())


class Library:
    """What stands for the `ctypes.CDLL` that some code takes C functions from, to hand them on to other C code."""

    _name: str
    """The file that the functions are in."""

    def __init__(self) -> None:
        self._name = str(sys.modules[EXTENSION].__file__)

    def __getattr__(self, name: str) -> Any:
        if name not in functions:
            raise AttributeError(f"llama.cpp's headers have no function {name!r}", name=name, obj=self)
        return objects()[name]

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __repr__(self) -> str:
        return f"<Library {self._name!r}>"


LIBRARY = Library()


def base_path() -> pathlib.Path:
    """Return the folder of the extension."""
    import pathlib

    return pathlib.Path(LIBRARY._name).parent


def load_shared_library(lib_base_name: str, base_path: object) -> Library:  # noqa: ARG001  (wherever that is)
    """Return the library that is loaded already, wherever it is looked for.

    Raises:
        FileNotFoundError: another one than `llama` and `ggml` is wanted.
    """
    if lib_base_name not in ("llama", "ggml"):
        raise FileNotFoundError(f"Shared library with base name '{lib_base_name}' not found: llamacffi has one engine")
    return LIBRARY


def ctypes_function_for_shared_library(lib: Any) -> Any:
    """Return `ctypes_function` for a library."""

    def ctypes_function(name: str, argtypes: Any, restype: Any, enabled: bool = True) -> Any:  # noqa: ARG001
        """Return a decorator that gives the library's function; where that is not enabled, what it decorates."""

        def decorator(function: Any) -> Any:
            return getattr(lib, name) if enabled else function

        return decorator

    return ctypes_function


# ---------------------------------------------------------------- names

NAMES: dict[str, Any] = {
    "_lib": LIBRARY,
    "ctypes_function": ctypes_function_for_shared_library(LIBRARY),
    "ctypes_function_for_shared_library": ctypes_function_for_shared_library,
    "llama_apply_adapter_cvec": llama_apply_adapter_cvec,
    "llama_kv_cache_p": int,
    "llama_kv_cache_p_ctypes": ctypes.c_void_p,
    "llama_set_adapter_lora": llama_set_adapter_lora,
    "load_shared_library": load_shared_library,
}
