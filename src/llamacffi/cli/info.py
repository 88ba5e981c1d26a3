"""`llamacffi info`: what this llamacffi is, and what it has to compute with here."""

from __future__ import annotations

import os
from typing import Any

import llamacffi
from llamacffi import llama_cpp
from llamacffi.cli import terminal
from llamacffi.cli.options import AS_JSON

SUPPORTS = ("mmap", "mlock", "gpu_offload", "rpc")
LIMITS = ("devices", "parallel_sequences", "tensor_buft_overrides")


def info(as_json: AS_JSON = False) -> None:
    """Show versions, engine, devices and limits."""
    told = facts()
    if as_json:
        terminal.show_json(told)
        return
    show(told)


def facts() -> dict[str, Any]:
    """Return all of it, as `--json` prints it."""
    return {
        **llamacffi.build_info()._asdict(),
        "devices": [device._asdict() for device in llamacffi.devices()],
        "usable_cpus": llamacffi.usable_cpus(),
        "max_threads": os.environ.get("LLAMACFFI_MAX_THREADS"),
        "supports": {name: getattr(llama_cpp, f"llama_supports_{name}")() for name in SUPPORTS},
        "limits": {name: getattr(llama_cpp, f"llama_max_{name}")() for name in LIMITS},
    }


def show(told: dict[str, Any]) -> None:
    terminal.show_facts(
        "llamacffi",
        {
            "version": told["version"],
            "llama.cpp": told["llama_cpp"],
            "compiler": told["compiler"],
            "engine": f"{told['engine']} ({', '.join(told['backends'])})",
            **{f"not {name}": why for name, why in told["not_taken"].items()},
            "CPU level": f"{told['cpu_level']} of {', '.join(told['cpu_levels'])}: {told['reason']}",
        },
    )
    columns = {"name": False, "type": False, "memory free": True, "total": True, "description": False}
    terminal.show_table("Devices", columns, map(device_row, told["devices"]))
    terminal.show_facts("Limits", limits(told))


def device_row(device: dict[str, Any]) -> list[str]:
    memory = [terminal.size(device[name]) for name in ("memory_free", "memory_total")]
    return [device["name"], device["type"], *memory, device["description"]]


def limits(told: dict[str, Any]) -> dict[str, str]:
    supports = [name.replace("_", " ") for name, does in told["supports"].items() if does]
    return {
        "usable CPUs": str(told["usable_cpus"]),
        "LLAMACFFI_MAX_THREADS": told["max_threads"] or "not set",
        "supports": ", ".join(supports),
        **{name.replace("_", " "): f"at most {number:,}" for name, number in told["limits"].items()},
    }
