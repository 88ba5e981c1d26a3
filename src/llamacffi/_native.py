"""The one module that imports the extension."""

from __future__ import annotations

from llamacffi._llama import (
    LlamaAssertionError,
    LlamaError,
    LlamaValueError,
    callback_failed,
    ffi,
    functions,
    last_error,
    lib,
)

__all__ = [
    "LlamaAssertionError",
    "LlamaError",
    "LlamaValueError",
    "callback_failed",
    "ffi",
    "functions",
    "last_error",
    "lib",
]
