"""Structs, callbacks and wrong names say what they are."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import pytest

from llamacffi import ctypes_types, llama_cpp, mtmd_cpp


def structs() -> list[Any]:
    made = [ctypes_types.named(name) for name in sorted(ctypes_types.type_names())]
    return [one for one in made if issubclass(one, ctypes.Structure)]


@pytest.mark.parametrize("struct", structs(), ids=lambda struct: str(struct.__name__))
def test_every_struct_shows_its_type_and_every_field(struct: Any) -> None:
    shown = repr(struct())
    assert shown.startswith(f"{struct.__name__}(")
    for field, *_ in struct._fields_:
        assert field == "value" or re.search(rf"\b{field}=", shown), field


def test_numbers_show_their_values() -> None:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = 4321
    params.yarn_ext_factor = 0.25
    params.embeddings = True
    assert {"n_ctx=4321", "yarn_ext_factor=0.25", "embeddings=True"} <= set(re.split(r"[(),] ?", repr(params)))


def test_enums_show_the_header_s_names_and_other_numbers_as_they_are() -> None:
    params = llama_cpp.llama_context_default_params()
    params.pooling_type = llama_cpp.LLAMA_POOLING_TYPE_MEAN
    assert "pooling_type=LLAMA_POOLING_TYPE_MEAN" in repr(params)
    params.pooling_type = 99
    assert "pooling_type=99" in repr(params)


def test_pointers_show_their_address_and_are_not_followed() -> None:
    batch = llama_cpp.llama_batch()
    assert "token=None" in repr(batch)
    batch.token = ctypes.cast(0x10, ctypes.POINTER(ctypes.c_int32))  # reading there would end the process
    assert "token=<int32_t * at 0x10>" in repr(batch)


def test_a_text_that_is_gone_is_not_read() -> None:
    override = llama_cpp.llama_chat_message()
    ctypes.c_void_p.from_buffer(override).value = 0x10
    assert "role=<char * at 0x10>" in repr(override)


def test_long_arrays_are_cut() -> None:
    split = llama_cpp.ggml_tensor()
    assert "ne=[0, 0, 0, 0]" in repr(split)
    assert re.search(r"op_params=\[0, 0, 0, 0, 0, 0, …\]", repr(split))


def test_callbacks_show_their_type_and_where_they_are() -> None:
    callback = llama_cpp.llama_log_callback(lambda *_: None)
    address = ctypes.cast(callback, ctypes.c_void_p).value
    assert repr(callback) == f"<ggml_log_callback at {address:#x}>"
    assert repr(llama_cpp.llama_log_callback()) == "<ggml_log_callback, NULL>"


@pytest.mark.parametrize(
    ("module", "wrong", "right"),
    [
        (llama_cpp, "llama_contxt_default_params", "llama_context_default_params"),
        (llama_cpp, "LLAMA_POOLING_TYPE_MEEN", "LLAMA_POOLING_TYPE_MEAN"),
        (mtmd_cpp, "mtmd_bitmp_free", "mtmd_bitmap_free"),
    ],
)
def test_a_misspelled_name_is_told_the_nearest(module: Any, wrong: str, right: str) -> None:
    with pytest.raises(AttributeError, match=rf"{wrong}.* Did you mean '{right}'\?$"):
        getattr(module, wrong)
    assert not hasattr(module, wrong)
