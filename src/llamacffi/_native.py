"""The one module that imports the extension: that of the best engine that can be loaded here."""

from __future__ import annotations

import _cffi_backend  # noqa: F401 (which the extension imports, where PyInstaller does not see it)

from llamacffi import engines

engines.take_best()

from llamacffi._llama import (  # noqa: E402
    LlamaAssertionError,
    LlamaError,
    LlamaOverflowWarning,
    LlamaValueError,
    LlamaWarning,
    build_info,
    cancel,
    ffi,
    fill_batch,
    find_output,
    function_objects,
    functions,
    guarded,
    last_error,
    lib,
    metadata,
    pieces,
    read_output,
    require_interpreter,
    serve_one_client,
    set_field,
    set_last_error,
    usable_cpus,
)

try:
    require_interpreter()
except ImportError:
    engines.forget()
    raise

__all__ = [
    "LlamaAssertionError",
    "LlamaError",
    "LlamaOverflowWarning",
    "LlamaValueError",
    "LlamaWarning",
    "build_info",
    "cancel",
    "ffi",
    "fill_batch",
    "find_output",
    "function_objects",
    "functions",
    "guarded",
    "last_error",
    "lib",
    "metadata",
    "pieces",
    "read_output",
    "serve_one_client",
    "set_field",
    "set_last_error",
    "usable_cpus",
]
