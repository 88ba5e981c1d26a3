"""What `llamacffi.devices()` lists: the devices of the ggml backend registry."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from llamacffi import llama_cpp
from llamacffi._native import lib

TYPE = "GGML_BACKEND_DEVICE_TYPE_"
TYPES: dict[int, str] = {getattr(lib, name): name.removeprefix(TYPE).lower() for name in dir(lib) if TYPE in name}


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


def devices() -> list[Device]:
    """Ask the registry."""
    return [_told(llama_cpp.ggml_backend_dev_get(index)) for index in range(llama_cpp.ggml_backend_dev_count())]


def _told(device: int) -> Device:
    props = llama_cpp.ggml_backend_dev_props()
    llama_cpp.ggml_backend_dev_get_props(device, ctypes.byref(props))
    capabilities = tuple(field[0] for field in props.caps._fields_ if getattr(props.caps, field[0]))
    return Device(
        props.name.decode("utf-8", "replace"),
        props.description.decode("utf-8", "replace"),
        TYPES[props.type],
        props.memory_free,
        props.memory_total,
        capabilities,
    )
