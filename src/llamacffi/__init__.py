"""llama.cpp for CPython as one compiled extension.

`llamacffi.llama_cpp` has the documented functions, constants and ctypes types; `ffi` and `lib` are the cffi objects
of the same extension, for code that works with cdata.
"""

from __future__ import annotations

from llamacffi._native import (
    LlamaAssertionError,
    LlamaError,
    LlamaOverflowWarning,
    LlamaValueError,
    LlamaWarning,
    ffi,
    last_error,
    lib,
)
from llamacffi._native import cancel as _cancel
from llamacffi._native import usable_cpus as _usable_cpus
from llamacffi._version import __version__

__all__ = [
    "LlamaAssertionError",
    "LlamaError",
    "LlamaOverflowWarning",
    "LlamaValueError",
    "LlamaWarning",
    "__version__",
    "build_info",
    "cancel",
    "devices",
    "ffi",
    "get_include",
    "install_as_llama_cpp",
    "last_error",
    "lib",
    "log_to",
    "usable_cpus",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from llamacffi.about import BuildInfo
    from llamacffi.device import Device
    from llamacffi.logs import log_to


def __getattr__(name: str) -> object:
    """Bring what an import of the package should not cost."""
    if name == "log_to":
        from llamacffi.logs import log_to

        return log_to
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_include() -> str:
    """Return the folder of `llamacffi.h`, by which a C or C++ extension module calls the same llama.cpp.

    llama.cpp's own headers are beside it, and nothing is to be linked: `docs/c_api.md` shows how.

    Returns:
        A path, for `include_dirs`.
    """
    from pathlib import Path

    return str(Path(__file__).with_name("include"))


def build_info() -> BuildInfo:
    """Tell how this llamacffi was built, and what of it runs here.

    Where several CPU levels were built, the best that this CPU can run is chosen when the extension loads, or the one
    that the environment variable `LLAMACFFI_CPU` names.

    Returns:
        A named tuple: `version`, `llama_cpp` (its commit), `compiler`, `cpu_levels` (those that were built, the least
        first), `cpu_level` (the one that runs) and `reason` (why that one).
    """
    from llamacffi import about

    return about.build_info()


def cancel(ctx: object) -> bool:
    """End what a context computes, from any thread, a signal handler or an asyncio task.

    `llama_decode`, `llama_encode`, `llama_process` or one of mtmd's evaluations that runs in the context returns before
    the next node of its graph, as when an abort callback says so: 2 from `llama_decode`. The context can be used as
    before; of a long prompt those parts stay in its memory that were done (`llama_memory_seq_pos_max` tells how many).
    A call that begins later is not cancelled.

    Args:
        ctx: the context, as a call takes it.

    Returns:
        Whether the context was computing.

    Raises:
        LlamaValueError: `ctx` is no context, or freed.
    """
    return bool(_cancel(ctx, ffi.typeof("struct llama_context *")))


def devices() -> list[Device]:
    """List what this build of llama.cpp can compute with on this machine.

    Returns:
        A named tuple for each device of the ggml backend registry, in its order: `name`, `description`, `type`
        (`cpu`, `gpu`, …), `memory_free` and `memory_total` in bytes, and `capabilities`.

    Source: `ggml_backend_dev_get` and `ggml_backend_dev_get_props` in ggml-backend.h.
    """
    from llamacffi import device

    return device.devices()


def usable_cpus() -> int:
    """Count the CPUs that this process may use, which is the most threads that a context computes with.

    These are the CPUs of its affinity mask, and no more of them than the CPU quota of its cgroup (v1 or v2) pays for in
    full. Contexts are limited to what it is when they are made; the environment variable `LLAMACFFI_MAX_THREADS` sets
    another limit, which this function does not tell.

    Returns:
        A number from 1.
    """
    return int(_usable_cpus())


def install_as_llama_cpp() -> None:
    """Make `import llama_cpp.llama_cpp` find this package in this process, and in those that multiprocessing spawns.

    Where llama-cpp-python is installed, its high-level package stays importable and runs on this engine, and its own
    shared libraries are never loaded: its modules that need them cannot be imported. Where it is not, `llama_cpp` is a
    package with `llama_cpp.llama_cpp` and its names. Calling it again changes nothing.

    Raises:
        ImportError: `llama_cpp.llama_cpp` has been imported already, and with it another engine.
    """
    from llamacffi import replacement

    replacement.install()
