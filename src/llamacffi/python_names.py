"""The names that llama-cpp-python's low-level module has and llama.cpp's public headers do not.

Constants out of a private header, and names for annotations, for `llamacffi.llama_cpp`; what only old code needs is in
`llamacffi.old_code`. Which names there must be is what `llama_cpp/llama_cpp.py` of the pinned archive says;
tests/dropin/test_names.py compares. `typing` is not imported: it would double the time that importing this takes.
"""

from __future__ import annotations

import ctypes
from types import GenericAlias

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
# `…_ctypes` is what stands for the handle in a ctypes array or struct. An adapter is no int, but such a pointer.
HANDLES = {
    "llama_adapter_lora_p": ctypes.c_void_p,
    "llama_adapter_lora_p_ctypes": ctypes.POINTER(ctypes.c_void_p),
    "llama_memory_t": int,
    "llama_memory_t_ctypes": ctypes.c_void_p,
}

NAMES: dict[str, Any] = {
    **{f"LLAMA_VOCAB_PRE_TYPE_{name}": value for value, name in enumerate(VOCAB_PRE_TYPES)},
    **ANNOTATIONS,
    **HANDLES,
}
