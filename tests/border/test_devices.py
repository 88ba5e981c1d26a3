"""What can be computed with, and how a model is given it out of Python lists and names."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import pytest

import llamacffi
from llamacffi import LlamaValueError
from llamacffi import llama_cpp as llama
from support.objects import context_of, decode, load_on


@pytest.fixture
def params() -> Any:
    return llama.llama_model_default_params()


def address(name: bytes) -> int:
    found: int = llama.ggml_backend_dev_by_name(name)
    return found


def test_devices_are_those_of_the_registry() -> None:
    registry = [llama.ggml_backend_dev_get(index) for index in range(llama.ggml_backend_dev_count())]
    names = [llama.ggml_backend_dev_name(device).decode() for device in registry]
    assert [device.name for device in llamacffi.devices()][: len(names)] == names
    assert "CPU" in names


def test_devices_print_as_a_table() -> None:
    head, *rows = str(llamacffi.devices()).splitlines()
    assert head.split() == ["name", "type", "free", "total", "description"]
    assert [row.split()[0] for row in rows] == [device.name for device in llamacffi.devices()]
    starts = {row.index(device.type) for row, device in zip(rows, llamacffi.devices(), strict=True)}
    assert starts == {head.index("type")}


def test_a_device_is_given_as_itself_by_name_or_by_address(params: Any) -> None:
    cpu = next(device for device in llamacffi.devices() if device.type == "cpu")
    llamacffi.offload(params, [cpu, "CPU", address(b"CPU")])
    array = ctypes.cast(params.devices, ctypes.POINTER(ctypes.c_void_p))
    assert array[:4] == [address(b"CPU")] * 3 + [None]


def test_all_fields_are_set_as_llama_cpp_reads_them(params: Any) -> None:
    llamacffi.offload(
        params,
        ["CPU"],
        n_gpu_layers=3,
        tensor_split=[0.5],
        split_mode="none",
        main_gpu="CPU",
        tensor_buft_overrides={"ffn": "CPU"},
    )
    assert (params.n_gpu_layers, params.main_gpu, params.split_mode) == (3, 0, llama.LLAMA_SPLIT_MODE_NONE)
    shares = ctypes.cast(params.tensor_split, ctypes.POINTER(ctypes.c_float))
    assert shares[: llama.llama_max_devices()] == [0.5] + [0] * (llama.llama_max_devices() - 1)
    kind = ctypes.POINTER(llama.llama_model_tensor_buft_override)
    first, end = ctypes.cast(params.tensor_buft_overrides, kind)[:2]
    assert (first.pattern, first.buft) == (b"ffn", llama.ggml_backend_dev_buffer_type(address(b"CPU")))
    assert end.pattern is None


def test_what_is_not_given_stays(params: Any) -> None:
    params.n_gpu_layers, params.main_gpu = 7, 2
    llamacffi.offload(params, [])
    assert (params.n_gpu_layers, params.main_gpu) == (7, 2)
    assert not params.tensor_split


def test_the_params_keep_what_they_point_to() -> None:
    model = load_on(["CPU"], tensor_split=[1], tensor_buft_overrides={"ffn_up": "CPU"}, split_mode="layer")
    gc.collect()
    assert decode(context_of(model)) == 0
    llama.llama_model_free(model)


WRONG = {
    "there is no device 'GPU9': give one of .*CPU": {"devices": ["GPU9"]},
    r"devices has 17 items, and llama.cpp takes at most 16": {"devices": ["CPU"] * 17},
    "tensor_split has 2 items for 1 devices: give one for each device": {"devices": ["CPU"], "tensor_split": [1, 2]},
    "tensor_split has 17 items for 16 devices": {"tensor_split": [1] * 17},
    "tensor_split has a share that is not from 0 on": {"tensor_split": [-1.0]},
    "there is no split_mode 'rows': give one of layer, none, row, tensor": {"split_mode": "rows"},
    "main_gpu 'CPU' is none of devices": {"devices": [], "main_gpu": "CPU"},
}


@pytest.mark.parametrize("says", WRONG)
def test_what_cannot_be_is_refused(params: Any, says: str) -> None:
    with pytest.raises(LlamaValueError, match=says):
        llamacffi.offload(params, **WRONG[says])  # type: ignore[arg-type]
