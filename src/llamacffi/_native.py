"""The one module that imports the extension."""

from __future__ import annotations

import _cffi_backend  # noqa: F401 (which the extension imports, where PyInstaller does not see it)

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
    require_interpreter,
    set_last_error,
    usable_cpus,
)

require_interpreter()

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
