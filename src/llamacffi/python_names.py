"""The names that llama-cpp-python's low-level module has and llama.cpp's public headers do not.

Functions that llama.cpp has no more, constants out of a private header, and names for annotations, for
`llamacffi.llama_cpp`. Which ones there must be, and what they do, is what `llama_cpp/llama_cpp.py` of the pinned
archive says; tests/dropin/test_names.py compares. `typing` is not imported: it would double the time that
importing this takes.
"""

from __future__ import annotations

import ctypes
from types import GenericAlias

from llamacffi._native import ffi, functions, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# `enum llama_vocab_pre_type` counts them from 0, in llama.cpp's private src/llama-vocab.h.
VOCAB_PRE_TYPES = (
    "DEFAULT",
    "LLAMA3",
    "DEEPSEEK_LLM",
    "DEEPSEEK_CODER",
    "FALCON",
    "MPT",
    "STARCODER",
    "GPT2",
    "REFACT",
    "COMMAND_R",
    "STABLELM2",
    "QWEN2",
    "OLMO",
    "DBRX",
    "SMAUG",
    "PORO",
    "CHATGLM3",
    "CHATGLM4",
    "VIKING",
    "JAIS",
    "TEKKEN",
    "SMOLLM",
    "CODESHELL",
    "BLOOM",
    "GPT3_FINNISH",
    "EXAONE",
    "CHAMELEON",
    "MINERVA",
    "DEEPSEEK3_LLM",
    "GPT4O",
    "SUPERBPE",
    "TRILLION",
    "BAILINGMOE",
    "LLAMA4",
    "PIXTRAL",
    "SEED_CODER",
)


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
        function = _Function(name)
        setattr(self, name, function)
        return function


# ---------------------------------------------------------------- for annotations


class CtypesPointer:
    """A ctypes pointer in an annotation, `CtypesPointer[c_float]`; `ctypes.POINTER` makes the type itself."""

    __class_getitem__: Any = classmethod(GenericAlias)


class CtypesRef:
    """What `byref` returns."""

    __class_getitem__: Any = classmethod(GenericAlias)


class CtypesPointerOrRef:
    """A ctypes pointer, or what `byref` returns."""

    __class_getitem__: Any = classmethod(GenericAlias)


ANNOTATIONS = {
    "CtypesArray": ctypes.Array,
    "CtypesCData": ctypes._SimpleCData.__base__,
    "CtypesFuncPointer": ctypes._CFuncPtr,  # type: ignore[attr-defined]
    "CtypesPointer": CtypesPointer,
    "CtypesPointerOrRef": CtypesPointerOrRef,
    "CtypesRef": CtypesRef,
    "CtypesVoidPointer": ctypes.c_void_p,
}

# `…_p` and `…_t` of a handle is a NewType over int there, and gives back the int that it is called with;
# `…_ctypes` is what stands for the handle in a ctypes array or struct.
HANDLES = {
    "llama_adapter_lora_p": ctypes.c_void_p,
    "llama_kv_cache_p": int,
    "llama_kv_cache_p_ctypes": ctypes.c_void_p,
    "llama_memory_t": int,
    "llama_memory_t_ctypes": ctypes.c_void_p,
}

NAMES: dict[str, Any] = {
    **{f"LLAMA_VOCAB_PRE_TYPE_{name}": value for value, name in enumerate(VOCAB_PRE_TYPES)},
    **ANNOTATIONS,
    **HANDLES,
    "llama_apply_adapter_cvec": llama_apply_adapter_cvec,
    "llama_set_adapter_lora": llama_set_adapter_lora,
}
