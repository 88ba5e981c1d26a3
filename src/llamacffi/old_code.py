"""What only old code needs: the fields, functions and names that llama.cpp has given up, and `_lib`.

Code written for an older llama.cpp, or for a ctypes library, goes on as far as it can. Params structs get their old
fields from `FIELDS`, and setting one in `GONE` warns; `llamacffi.llama_cpp` takes `NAMES` when they are first asked
for.
"""

from __future__ import annotations

import ctypes

from llamacffi._native import ffi, functions, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# ---------------------------------------------------------------- fields

# Fields that this llama.cpp has no more.
GONE = {
    "llama_model_params": {"rpc_servers"},
    "llama_context_params": {"f16_kv", "logits_all", "mul_mat_q", "seed"},
    "llama_batch": {"all_pos_0", "all_pos_1", "all_seq_id"},
}


def has_gone(struct: str, field: str) -> bool:
    """Tell whether a struct once had a field, and warn the code that sets it that this does nothing."""
    if field not in GONE.get(struct, ()):
        return False
    import warnings

    warnings.warn(f"{struct}.{field} is gone from llama.cpp and has no effect", DeprecationWarning, stacklevel=4)
    return True


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


def llama_set_adapter_lora(ctx: Any, adapter: Any, scale: float, /) -> int:
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
    adapters = (ctypes.c_void_p * 1)(adapter)
    status: int = functions["llama_set_adapters_lora"](ctx, adapters, 1, (ctypes.c_float * 1)(scale))
    return status


def llama_apply_adapter_cvec(ctx: Any, data: Any, len: int, n_embd: int, il_start: int, il_end: int, /) -> int:
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


class _Function:
    """A C function as code finds it in a ctypes library: called, it is the built-in; cast, it is its address.

    `ctypes.cast` takes the address from `_as_parameter_`. What code sets on it (`argtypes`, `restype`) has no effect.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self.__call = functions[name]
        self._as_parameter_ = ctypes.c_void_p(int(ffi.cast("intptr_t", ffi.addressof(lib, name))))

    def __call__(self, *arguments: Any) -> Any:
        return self.__call(*arguments)


class Library:
    """What stands for the `ctypes.CDLL` that some code takes C functions from, to hand them on to other C code."""

    def __getattr__(self, name: str) -> _Function:
        if name not in functions:
            raise AttributeError(f"llama.cpp's headers have no function {name!r}", name=name, obj=self)
        function: _Function = self.__dict__.setdefault(name, _Function(name))  # one, whichever thread asks first
        return function


# ---------------------------------------------------------------- names

NAMES: dict[str, Any] = {
    "_lib": Library(),
    "llama_apply_adapter_cvec": llama_apply_adapter_cvec,
    "llama_kv_cache_p": int,
    "llama_kv_cache_p_ctypes": ctypes.c_void_p,
    "llama_set_adapter_lora": llama_set_adapter_lora,
}
