"""The ctypes types: the names of llama-cpp-python's low-level module, laid out as the compiler has them.

The other witness is the pinned llama-cpp-python itself: its module is run with its library replaced by a dummy, so that
only its types come to be.
"""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest

from llamacffi import LlamaWarning, ctypes_types, ffi, lib, llama_cpp, old_code
from support.checkout import load_fetch
from support.objects import load

STRUCTURE, UNION, FUNCTION, POINTER = map(type, (ctypes.Structure, ctypes.Union, ctypes._CFuncPtr, ctypes._Pointer))  # type: ignore[attr-defined]
CTYPES = (STRUCTURE, UNION, FUNCTION, POINTER, type(ctypes.c_int))

# Where llama-cpp-python is not what its headers are: it omits a field.
WRONG_IN_THE_PEER = {"llama_opt_params"}


def peer_module() -> ModuleType:
    """Run llama-cpp-python's low-level module without its library."""
    fetch = load_fetch()
    path = Path(fetch.extract("llama_cpp/*"), "llama_cpp", "llama_cpp.py")
    extensions = ModuleType("llama_cpp._ctypes_extensions")
    extensions.byref = ctypes.byref  # type: ignore[attr-defined]
    extensions.load_shared_library = mock.MagicMock()  # type: ignore[attr-defined]
    extensions.ctypes_function_for_shared_library = lambda library: lambda *types: lambda function: function  # type: ignore[attr-defined]
    module = ModuleType("peer")
    module.__file__ = str(path)
    with mock.patch.dict(sys.modules, {"llama_cpp": ModuleType("llama_cpp"), extensions.__name__: extensions}):
        exec(compile(path.read_text(), path, "exec"), vars(module))
    return module


PEER = peer_module()
PEER_TYPES: dict[str, Any] = {
    name: value
    for name, value in vars(PEER).items()
    if isinstance(value, CTYPES) and not name.startswith("_") and name not in vars(ctypes)
}
PEER_STRUCTS: dict[str, Any] = {name: value for name, value in PEER_TYPES.items() if isinstance(value, STRUCTURE)}


def structs() -> Iterator[tuple[str, Any, Any]]:
    """Yield each struct of the headers: its name, cffi's type and the ctypes type."""
    for name in sorted(ctypes_types.type_names()):
        made = ctypes_types.named(name)
        if isinstance(made, STRUCTURE):
            yield name, ctypes_types._type_of(name), made


STRUCTS = list(structs())
each_struct = pytest.mark.parametrize(("name", "ctype", "made"), STRUCTS, ids=[name for name, *_ in STRUCTS])


# ---------------------------------------------------------------- names


def test_the_peer_has_types_to_compare_with() -> None:
    assert {"llama_batch", "llama_token_data_array", "llama_sampler_i"} <= set(PEER_STRUCTS)
    assert len(PEER_TYPES) > 50


@pytest.mark.parametrize("name", PEER_TYPES)
def test_each_type_of_llama_cpp_python_is_here_under_its_name(name: str) -> None:
    ours: Any = getattr(llama_cpp, name)
    theirs = PEER_TYPES[name]
    assert type(ours) in CTYPES
    if name not in WRONG_IN_THE_PEER:
        assert ctypes.sizeof(ours) == ctypes.sizeof(theirs)


def test_each_handle_s_type_of_llama_cpp_python_is_here() -> None:
    """They are `typing.NewType`s there: names for annotations."""
    names = [name for name, value in vars(PEER).items() if hasattr(value, "__supertype__")]
    assert "llama_vocab_p" in names
    assert [name for name in names if not hasattr(llama_cpp, name)] == []


@pytest.mark.parametrize("name", sorted(set(PEER_STRUCTS) - WRONG_IN_THE_PEER))
def test_the_fields_have_the_names_and_places_that_code_for_llama_cpp_python_knows(name: str) -> None:
    ours, theirs = getattr(llama_cpp, name), PEER_STRUCTS[name]
    for field, *_ in theirs._fields_:
        mine, other = getattr(ours, field), getattr(theirs, field)
        assert (field, mine.offset, mine.size) == (field, other.offset, other.size)


@pytest.mark.parametrize("name", sorted(name for name, kind in PEER_TYPES.items() if isinstance(kind, FUNCTION)))
def test_callback_types_take_what_they_take_in_llama_cpp_python(name: str) -> None:
    ours, theirs = getattr(llama_cpp, name), PEER_TYPES[name]
    sizes = [[ctypes.sizeof(kind) for kind in made._argtypes_] for made in (ours, theirs)]
    assert sizes[0] == sizes[1]
    results = [made._restype_ and ctypes.sizeof(made._restype_) for made in (ours, theirs)]
    assert results[0] == results[1]


def test_an_unknown_name_is_an_attribute_error_of_the_module() -> None:
    with pytest.raises(AttributeError, match="llama_batsch"):
        llama_cpp.llama_batsch  # noqa: B018


# ---------------------------------------------------------------- layout


@each_struct
def test_a_struct_has_the_compiler_s_size_and_alignment(name: str, ctype: Any, made: Any) -> None:
    assert ctypes.sizeof(made) == ffi.sizeof(ctype)
    assert ctypes.alignment(made) == ffi.alignof(ctype)


@each_struct
def test_each_field_has_the_compiler_s_place(name: str, ctype: Any, made: Any) -> None:
    for field, info in ctype.fields:
        assert getattr(made, field).offset == ffi.offsetof(ctype, field), field
        assert getattr(made, field).size == ffi.sizeof(info.type), field


def test_all_structs_of_the_headers_are_there() -> None:
    complete = [name for name in ffi.list_types()[1] if ctypes_types._is_complete(ffi.typeof(f"struct {name}"))]
    assert set(complete) <= {name for name, *_ in STRUCTS}
    assert len(complete) > 30


def test_a_value_that_ctypes_writes_is_what_c_reads() -> None:
    """Per field kind: a float, an enum, a bool and a pointer of one struct, read back by cffi."""
    params = llama_cpp.llama_context_params(n_ctx=123, rope_freq_base=0.5, pooling_type=-1, offload_kqv=True)
    cdata = ffi.cast("struct llama_context_params *", ctypes.addressof(params))
    assert (cdata.n_ctx, cdata.rope_freq_base, cdata.pooling_type, cdata.offload_kqv) == (123, 0.5, -1, True)
    assert cdata.cb_eval == ffi.NULL


# ---------------------------------------------------------------- the union


def test_a_metadata_override_has_its_value_and_the_members_of_it() -> None:
    override = llama_cpp.llama_model_kv_override()
    override.value.val_i64 = 0x0102030405060708
    assert override.val_i64 == 0x0102030405060708
    override.val_f64 = 1.5
    assert override.value.val_f64 == 1.5
    override.value.val_str = b"text"
    assert override.val_str == b"text"
    override.val_bool = True
    assert bytes(override.value)[0] == 1


def test_an_override_changes_what_the_model_says(tiny_path: Path) -> None:
    overrides = (llama_cpp.llama_model_kv_override * 2)()
    overrides[0].tag, overrides[0].key = lib.LLAMA_KV_OVERRIDE_TYPE_INT, b"llama.context_length"
    overrides[0].value.val_i64 = 77
    model = load(tiny_path, kv_overrides=overrides)
    assert llama_cpp.llama_model_n_ctx_train(model) == 77
    llama_cpp.llama_model_free(model)


# ---------------------------------------------------------------- fields of older versions


@pytest.mark.parametrize(
    ("mmap", "mlock", "mode"),
    [
        (True, False, "LLAMA_LOAD_MODE_MMAP"),
        (False, True, "LLAMA_LOAD_MODE_MLOCK"),
        (True, True, "LLAMA_LOAD_MODE_MMAP_MLOCK"),
        (False, False, "LLAMA_LOAD_MODE_NONE"),
    ],
)
def test_use_mmap_and_use_mlock_set_the_load_mode(mmap: bool, mlock: bool, mode: str) -> None:
    for names in (("use_mmap", "use_mlock"), ("use_mlock", "use_mmap")):
        params = llama_cpp.llama_model_default_params()
        for name in names:
            setattr(params, name, {"use_mmap": mmap, "use_mlock": mlock}[name])
        assert params.load_mode == getattr(lib, mode)
        assert (params.use_mmap, params.use_mlock) == (mmap, mlock)


def test_a_model_is_mapped_by_default() -> None:
    params = llama_cpp.llama_model_default_params()
    assert (params.use_mmap, params.use_mlock) == (True, False)


@pytest.mark.parametrize(("value", "kind"), [(True, "ENABLED"), (False, "DISABLED")])
def test_flash_attn_sets_the_type_of_flash_attention(value: bool, kind: str) -> None:
    params = llama_cpp.llama_context_default_params()
    params.flash_attn = value
    assert params.flash_attn_type == getattr(lib, f"LLAMA_FLASH_ATTN_TYPE_{kind}")
    assert params.flash_attn is value


@pytest.mark.parametrize(
    ("struct", "field"),
    [("llama_context_params", "logits_all"), ("llama_context_params", "seed"), ("llama_batch", "all_seq_id")],
)
def test_a_field_that_is_gone_warns_and_changes_nothing(struct: str, field: str) -> None:
    made = getattr(llama_cpp, struct)()
    before = bytes(made)
    with pytest.warns(DeprecationWarning, match=f"{struct}.{field}") as warned:
        setattr(made, field, True)
    assert bytes(made) == before
    assert warned[0].filename == __file__


@pytest.mark.parametrize(
    ("struct", "field", "near"),
    [
        ("llama_model_params", "n_gpu_layer", "n_gpu_layers"),
        ("llama_context_params", "nctx", "n_ctx"),
        ("llama_batch", "tokens", "token"),
        ("llama_model_params", "usemmap", "use_mmap"),
    ],
)
def test_an_unknown_field_warns_with_the_nearest_name_and_is_kept(struct: str, field: str, near: str) -> None:
    made = getattr(llama_cpp, struct)()
    before = bytes(made)
    with pytest.warns(LlamaWarning, match=f"{struct} has no field '{field}'.*. Did you mean '{near}'") as warned:
        setattr(made, field, 1)
    assert warned[0].filename == __file__
    assert (getattr(made, field), bytes(made)) == (1, before)


def test_an_unknown_field_that_is_near_to_nothing_warns_too() -> None:
    with pytest.warns(LlamaWarning, match=r"no field 'zzzzzz', and C does not see what is set there$"):
        llama_cpp.llama_batch().zzzzzz = 1


def test_the_constructor_warns_of_an_unknown_field() -> None:
    with pytest.warns(LlamaWarning, match="n_gpu_layer'"):
        assert llama_cpp.llama_model_params(n_gpu_layer=1).n_gpu_layer == 1


def test_a_field_that_was_never_set_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="llama_batch has no field 'tokens'"):
        llama_cpp.llama_batch().tokens  # noqa: B018


def test_pointers_that_are_void_in_llama_cpp_python_read_and_are_set_as_there() -> None:
    differing = {
        (struct, field)
        for struct, theirs in PEER_STRUCTS.items()
        for field, kind, *_ in theirs._fields_
        if kind is ctypes.c_void_p and isinstance(dict(getattr(llama_cpp, struct)._fields_)[field], POINTER)
    }
    assert differing == {(struct, field) for struct, fields in old_code.VOID_POINTERS.items() for field in fields}
    for struct, field in differing:
        made, memory = getattr(llama_cpp, struct)(), ctypes.create_string_buffer(64)
        assert getattr(made, field) is None
        for address in (ctypes.cast(memory, ctypes.c_void_p), ctypes.addressof(memory)):
            setattr(made, field, address)
            assert ctypes.addressof(getattr(made, field).contents) == ctypes.addressof(memory)
        setattr(made, field, None)
        assert getattr(made, field) is None


@each_struct
def test_setting_each_known_field_does_not_warn(name: str, ctype: Any, made: Any) -> None:
    thing = made()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for field, *_ in made._fields_:
            setattr(thing, field, getattr(thing, field))


# ---------------------------------------------------------------- as code uses them


def test_a_token_data_array_is_built_and_sorted() -> None:
    data = (llama_cpp.llama_token_data * 3)(*[(id_, float(id_), 0.0) for id_ in (2, 9, 4)])
    array = llama_cpp.llama_token_data_array(data=data, size=3, selected=-1, sorted=False)
    sampler = llama_cpp.llama_sampler_init_top_k(2)
    llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
    llama_cpp.llama_sampler_free(sampler)
    assert [array.data[i].id for i in range(array.size)] == [9, 4]


def test_numpy_sees_an_array_of_structs_as_records() -> None:
    data = (llama_cpp.llama_token_data * 3)()
    view = np.ctypeslib.as_array(data)
    view["id"] = [7, 8, 9]
    view["logit"] = 0.5
    assert [(item.id, item.logit) for item in data] == [(7, 0.5), (8, 0.5), (9, 0.5)]


def test_a_type_is_made_once() -> None:
    assert llama_cpp.llama_batch is ctypes_types.named("llama_batch")
    assert ctypes.POINTER(llama_cpp.llama_token_data) is llama_cpp.llama_token_data_p
