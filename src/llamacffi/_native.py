"""The one module that imports the extension."""

from __future__ import annotations

from llamacffi._llama import (
    LlamaAssertionError,
    LlamaError,
    LlamaValueError,
    build_info,
    ffi,
    functions,
    guarded,
    last_error,
    lib,
    set_last_error,
    usable_cpus,
)

__all__ = [
    "LlamaAssertionError",
    "LlamaError",
    "LlamaValueError",
    "build_info",
    "ffi",
    "functions",
    "guarded",
    "last_error",
    "lib",
    "set_last_error",
    "usable_cpus",
]
