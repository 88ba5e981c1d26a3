"""`llamacffi info` tells what the extension, the system and the registry say."""

from __future__ import annotations

import json

import psutil
import pytest

import llamacffi
from support.commands import Call


def test_json_has_what_the_build_says(call: Call) -> None:
    said = call("info", "--json")
    told = json.loads(said.out)
    assert (said.status, said.err) == (0, "")
    built = llamacffi.build_info()
    for name in ("version", "llama_cpp", "engine", "cpu_level", "reason", "not_taken"):
        assert told[name] == getattr(built, name)
    assert told["usable_cpus"] == llamacffi.usable_cpus()


def test_the_cpu_is_a_device_with_the_machine_s_memory(call: Call) -> None:
    (cpu,) = [device for device in json.loads(call("info", "--json").out)["devices"] if device["type"] == "cpu"]
    assert cpu["name"] == "CPU"
    assert cpu["memory_total"] == psutil.virtual_memory().total
    assert 0 < cpu["memory_free"] <= cpu["memory_total"]


def test_devices_are_named_tuples(call: Call) -> None:
    told = json.loads(call("info", "--json").out)["devices"]
    assert [{**device._asdict(), "capabilities": [*device.capabilities]} for device in llamacffi.devices()] == told


def test_the_limit_of_threads_is_the_one_that_is_set(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMACFFI_MAX_THREADS", "3")
    assert json.loads(call("info", "--json").out)["max_threads"] == "3"


def test_the_table_says_the_same(call: Call) -> None:
    said = call("info")
    built = llamacffi.build_info()
    assert f"  llama.cpp   {built.llama_cpp}\n" in said.out
    assert f"usable CPUs            {llamacffi.usable_cpus()}\n" in said.out
