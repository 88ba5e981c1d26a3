"""Devices to compute with: what `llamacffi.devices()` lists, and how `llamacffi.offload()` gives them to a model.

Those of other machines are in no registry of ggml: a load that names no devices would use them, and fail with any
server.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from llamacffi import llama_cpp
from llamacffi._native import LlamaError, LlamaValueError, lib

TYPE = "GGML_BACKEND_DEVICE_TYPE_"
TYPES: dict[int, str] = {getattr(lib, name): name.removeprefix(TYPE).lower() for name in dir(lib) if TYPE in name}
SPLIT = "LLAMA_SPLIT_MODE_"
SPLIT_MODES: dict[str, int] = {
    name.removeprefix(SPLIT).lower(): getattr(lib, name) for name in dir(lib) if SPLIT in name
}
UNITS = (("GiB", 30), ("MiB", 20))

added: dict[str, int] = {}  # those of other machines: the addresses, by name


class Device(NamedTuple):
    """A device that ggml can compute with."""

    name: str
    description: str
    type: str
    """`cpu`, `gpu`, `igpu`, `accel` or `meta`: the enum's name in ggml-backend.h."""
    memory_free: int
    memory_total: int
    """In bytes; a CPU's is the machine's."""
    capabilities: tuple[str, ...]
    """Those fields of `ggml_backend_dev_caps` that are true."""


AnyDevice = Device | str | int
"""A device, its name, or its address."""


class Devices(list[Device]):
    """A list that prints as a table."""

    def __str__(self) -> str:
        rows = [("name", "type", "free", "total", "description"), *map(_row, self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def devices() -> Devices:
    """Ask the registry, and the servers that were added."""
    return Devices([*local(), *map(described, added.values())])


def local() -> Devices:
    """Ask the registry alone: what a model is loaded on that is given no devices."""
    known = (llama_cpp.ggml_backend_dev_get(index) for index in range(llama_cpp.ggml_backend_dev_count()))
    return Devices(map(described, known))


def described(device: int) -> Device:
    """Return what a device says of itself; one whose server is not there says so in its description."""
    props = llama_cpp.ggml_backend_dev_props()
    name = _text(llama_cpp.ggml_backend_dev_name(device))
    description = _text(llama_cpp.ggml_backend_dev_description(device))
    try:
        llama_cpp.ggml_backend_dev_get_props(device, ctypes.byref(props))
    except LlamaError:
        kind = TYPES[llama_cpp.ggml_backend_dev_type(device)]
        return Device(name, f"{description} (lost)", kind, 0, 0, ())
    capabilities = tuple(field[0] for field in props.caps._fields_ if getattr(props.caps, field[0]))
    return Device(name, description, TYPES[props.type], props.memory_free, props.memory_total, capabilities)


def _text(given: bytes) -> str:
    return given.decode("utf-8", "replace")


def _row(device: Device) -> tuple[str, ...]:
    memory = (_size(device.memory_free), _size(device.memory_total))
    return (device.name, device.type, *memory, device.description)


def _size(n_bytes: int) -> str:
    unit, power = next((one for one in UNITS if n_bytes >= 1 << one[1]), UNITS[-1])
    return f"{n_bytes / (1 << power):.1f} {unit}"


# ---------------------------------------------------------------- what a model is given


def address(given: AnyDevice) -> int:
    """Return the address of a device."""
    if isinstance(given, int):
        return given
    name = given if isinstance(given, str) else given.name
    found: int | None = added.get(name) or llama_cpp.ggml_backend_dev_by_name(name)
    if found is None:
        known = ", ".join(device.name for device in devices())
        raise LlamaValueError(f"there is no device {name!r}: give one of {known}")
    return found


def offload(
    params: Any,
    devices: Iterable[AnyDevice] | None,
    n_gpu_layers: int | None,
    tensor_split: Sequence[float] | None,
    split_mode: int | str | None,
    main_gpu: int | Device | str | None,
    tensor_buft_overrides: Mapping[str, AnyDevice] | None,
) -> None:
    """Set the fields, which keep alive what they point to."""
    chosen = None if devices is None else [address(device) for device in devices]
    if chosen is not None:
        params.devices = _array(chosen)
    if tensor_split is not None:
        params.tensor_split = _shares(tensor_split, chosen)
    if split_mode is not None:
        params.split_mode = _split_mode(split_mode)
    if main_gpu is not None:
        params.main_gpu = _place(main_gpu, chosen)
    if tensor_buft_overrides is not None:
        params.tensor_buft_overrides = _overrides(tensor_buft_overrides)
    if n_gpu_layers is not None:
        params.n_gpu_layers = n_gpu_layers


def _array(chosen: list[int]) -> Any:
    most = llama_cpp.llama_max_devices()
    if len(chosen) > most:
        raise LlamaValueError(f"devices has {len(chosen)} items, and llama.cpp takes at most {most}: give fewer")
    return (ctypes.c_void_p * (len(chosen) + 1))(*chosen, None)


def _shares(given: Sequence[float], chosen: list[int] | None) -> Any:
    most = llama_cpp.llama_max_devices()
    wanted = most if chosen is None else len(chosen)
    if len(given) > wanted or (chosen is not None and len(given) != wanted):
        raise LlamaValueError(f"tensor_split has {len(given)} items for {wanted} devices: give one for each device")
    if any(not share >= 0 for share in given):
        raise LlamaValueError(f"tensor_split has a share that is not from 0 on: {list(given)}")
    return (ctypes.c_float * most)(*given)


def _split_mode(given: int | str) -> int:
    if isinstance(given, int):
        return given
    if given not in SPLIT_MODES:
        raise LlamaValueError(f"there is no split_mode {given!r}: give one of {', '.join(SPLIT_MODES)}")
    return SPLIT_MODES[given]


def _place(given: int | Device | str, chosen: list[int] | None) -> int:
    if isinstance(given, int):
        return given
    if chosen is None or address(given) not in chosen:
        raise LlamaValueError(f"main_gpu {given!r} is none of devices: name it there, or give its place")
    return chosen.index(address(given))


def _overrides(given: Mapping[str, AnyDevice]) -> Any:
    array = (llama_cpp.llama_model_tensor_buft_override * (len(given) + 1))()
    for one, (pattern, device) in zip(array, given.items(), strict=False):
        one.pattern = pattern.encode()
        one.buft = llama_cpp.ggml_backend_dev_buffer_type(address(device))
    return array
