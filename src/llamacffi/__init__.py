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
    "add_rpc_servers",
    "build_info",
    "cancel",
    "devices",
    "ffi",
    "get_include",
    "install_as_llama_cpp",
    "last_error",
    "lib",
    "log_to",
    "offload",
    "usable_cpus",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llamacffi.about import BuildInfo
    from llamacffi.device import AnyDevice, Device, Devices
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


def devices() -> Devices:
    """List what this build of llama.cpp can compute with: this machine's devices, and those of servers that were added.

    Returns:
        A list of named tuples, which prints as a table: `name`, `description`, `type` (`cpu`, `gpu`, …), `memory_free`
        and `memory_total` in bytes, and `capabilities`. Of a server that is not there any more, the description ends
        with `(lost)`.

    Source: `ggml_backend_dev_get` and `ggml_backend_dev_get_props` in ggml-backend.h.
    """
    from llamacffi import device

    return device.devices()


def add_rpc_servers(addresses: Iterable[str], timeout: float | None = None) -> Devices:
    """Connect to servers of remote backends on other machines, which `llamacffi rpc-server` runs there.

    Only a model that is given the devices uses them (`offload`); a load that names none goes on without.

    Args:
        addresses: of each server, as `host:port`.
        timeout: how many seconds a server may take to be connected, and to answer; from then on it counts for all
            servers, as the environment variable `LLAMACFFI_RPC_TIMEOUT` does. A `llamacffi rpc-server` that computes
            for longer is asked whether it is there; llama.cpp's own has that long. If not given, 10 s, and 600 s for
            an answer of llama.cpp's own server.

    Returns:
        Their devices, as `devices` lists them.

    Raises:
        LlamaError: a server cannot be reached, does not answer, or speaks something else. It names the server.
        LlamaValueError: what is given is no address.

    Source: `ggml_backend_rpc_add_server` in ggml-rpc.h.
    """
    from llamacffi import rpc_client

    return rpc_client.add_rpc_servers(addresses, timeout)


def offload(
    params: object,
    devices: Iterable[AnyDevice] | None = None,
    *,
    n_gpu_layers: int | None = None,
    tensor_split: Sequence[float] | None = None,
    split_mode: int | str | None = None,
    main_gpu: int | Device | str | None = None,
    tensor_buft_overrides: Mapping[str, AnyDevice] | None = None,
) -> None:
    """Set on which devices a model is to be, out of Python lists and names.

    Args:
        params: a `llama_model_params`, which keeps alive what its fields then point to. A field that is not given here
            stays as it is.
        devices: named tuples of `devices` or `add_rpc_servers`, names or addresses; an empty list is the CPU alone.
        n_gpu_layers: how many of the last layers are there; -1 is all.
        tensor_split: the share of each device.
        split_mode: `none`, `layer`, `row` or `tensor`, or the constant.
        main_gpu: the place in `devices`, or one of them, that has the whole model where `split_mode` is `none`.
        tensor_buft_overrides: by a regular expression for names of tensors, the device whose memory they are in.

    Raises:
        LlamaValueError: there is no such device or mode, or the lengths do not meet.
    """
    from llamacffi import device

    device.offload(params, devices, n_gpu_layers, tensor_split, split_mode, main_gpu, tensor_buft_overrides)


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
