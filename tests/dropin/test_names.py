"""`llamacffi.llama_cpp` has every public name of llama-cpp-python's low-level module, which is read, not run."""

from __future__ import annotations

import ast
import contextlib
import ctypes
import functools
import warnings
from typing import Any

import pytest
from engines import package

from llamacffi import ffi, lib, llama_cpp

# Fields that llama-cpp-python omits, so that its struct is shorter than C's.
OMITTED_THERE = {"llama_opt_params": {"optimizer_type"}}


@functools.cache
def module() -> ast.Module:
    return ast.parse((package() / "llama_cpp" / "llama_cpp.py").read_text())


def functions() -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in module().body if isinstance(node, ast.FunctionDef)}


def classes() -> dict[str, ast.ClassDef]:
    return {node.name: node for node in module().body if isinstance(node, ast.ClassDef)}


def assigned() -> dict[str, ast.expr]:
    """Return what names are given, in the module and where only type checkers look."""
    bodies = [module().body, *(node.body for node in module().body if isinstance(node, ast.If))]
    return {
        target.id: node.value
        for body in bodies
        for node in body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def imported() -> set[str]:
    """Return what comes from the package's own ctypes extensions: `byref` and the names for annotations."""
    nodes = [node for node in ast.walk(module()) if isinstance(node, ast.ImportFrom)]
    return {
        name.name
        for node in nodes
        if node.module == "llama_cpp._ctypes_extensions"
        for name in node.names
        if name.name == "byref" or name.name.startswith("Ctypes")
    }


def names() -> list[str]:
    everything = {*functions(), *classes(), *assigned(), *imported()}
    return sorted(name for name in everything if not name.startswith("_"))


def test_there_is_something_to_compare_with() -> None:
    assert len(names()) > 400
    assert {"llama_decode", "llama_batch", "LLAMA_DEFAULT_SEED", "byref", "CtypesArray", "llama_vocab_p"} <= {*names()}


def test_no_name_is_missing() -> None:
    assert [name for name in names() if not hasattr(llama_cpp, name)] == []


def test_a_star_import_brings_them() -> None:
    space: dict[str, Any] = {}
    exec("from llamacffi.llama_cpp import *", space)
    assert [name for name in names() if name not in space] == []
    assert set(names()) <= set(dir(llama_cpp))


def test_what_llama_cpp_python_lacks_is_here() -> None:
    more = ["llama_attach_threadpool", "llama_detach_threadpool"]
    assert [name for name in more if name in names()] == []
    assert [name for name in more if not callable(getattr(llama_cpp, name))] == []
    assert ctypes.sizeof(llama_cpp.llama_opt_params) == ffi.sizeof("struct llama_opt_params")


def constants() -> dict[str, int]:
    values = {}
    for name, value in assigned().items():
        with contextlib.suppress(ValueError):
            values[name] = ast.literal_eval(value)
    return {name: value for name, value in values.items() if isinstance(value, int) and not name.startswith("_")}


def test_the_constants_have_the_same_values() -> None:
    assert len(constants()) > 150
    assert {name: getattr(llama_cpp, name) for name in constants()} == constants()


def fields() -> dict[str, list[str]]:
    """Return the fields that each class lists, in its body or below it."""
    told = {name: _fields_in(node.body) for name, node in classes().items()}
    for node in module().body:
        match node:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=name), attr="_fields_")]):
                told[name] = [ast.literal_eval(pair.elts[0]) for pair in node.value.elts]  # type: ignore[attr-defined]
    return told


def _fields_in(body: list[ast.stmt]) -> list[str]:
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id="_fields_")], value=ast.List(elts=pairs)):
                return [ast.literal_eval(pair.elts[0]) for pair in pairs]  # type: ignore[attr-defined]
    return []


@pytest.mark.parametrize("name", sorted(fields()))
def test_the_structs_have_the_same_fields_in_the_same_order(name: str) -> None:
    omitted = OMITTED_THERE.get(name, set())
    ours = [field for field, *_ in getattr(llama_cpp, name)._fields_]
    assert len(ours) > 0
    assert omitted <= set(ours)
    assert [field for field in ours if field not in omitted] == fields()[name]


def test_the_functions_take_as_many_arguments() -> None:
    """Those of C; `llama_opt_init`'s struct by value counts as one, as there."""
    ours = {name: len(ffi.typeof(getattr(lib, name)).args) for name in functions() if hasattr(lib, name)}
    theirs = {name: len([*node.args.posonlyargs, *node.args.args]) for name, node in functions().items()}
    assert len(ours) > 200
    assert {name: count for name, count in ours.items() if theirs[name] != count} == {}


# ---------------------------------------------------------------- the library


def test_the_library_s_functions_are_called_as_the_module_s() -> None:
    assert llama_cpp._lib.llama_max_devices() == llama_cpp.llama_max_devices()
    with pytest.raises(ValueError, match="llama_n_ctx"):
        llama_cpp._lib.llama_n_ctx(None)
    with pytest.raises(AttributeError, match="llama_no_such"):
        llama_cpp._lib.llama_no_such  # noqa: B018


def test_the_library_s_functions_have_an_address_that_c_code_can_call(model: Any) -> None:
    """guidance hands `llama_tokenize` to a library in Rust in this way."""
    address = ctypes.cast(llama_cpp._lib.llama_vocab_n_tokens, ctypes.c_void_p).value
    assert address is not None
    call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(address)
    vocab = llama_cpp.llama_model_get_vocab(model)
    assert call(vocab) == llama_cpp.llama_vocab_n_tokens(vocab)


# ---------------------------------------------------------------- deprecated functions


def warnings_there() -> dict[str, str]:
    """Return the text that each deprecated function warns with."""
    told = {}
    for name, node in functions().items():
        for call in ast.walk(node):
            match call:
                case ast.Call(func=ast.Name(id="_warn_deprecated"), args=[symbol, hint]):
                    told[name] = f"{ast.literal_eval(symbol)} is deprecated; {ast.literal_eval(hint)}"
                case ast.Call(func=ast.Attribute(attr="warn"), args=[ast.Constant(value=str(text)), *_]):
                    told[name] = text
    return told


def test_the_same_functions_are_deprecated() -> None:
    marked = {name for name in dir(lib) if "\nDeprecated: " in (getattr(llama_cpp, name).__doc__ or "")}
    assert set(warnings_there()) <= {*marked, "llama_apply_adapter_cvec", "llama_set_adapter_lora"}


@pytest.mark.parametrize("name", sorted(warnings_there()))
def test_a_deprecated_function_warns_where_it_is_called(name: str) -> None:
    count = len(functions()[name].args.posonlyargs)
    arguments = [1.0 if name == "llama_set_adapter_lora" and position == 2 else None for position in range(count)]
    with warnings.catch_warnings(record=True) as caught, contextlib.suppress(TypeError, ValueError):
        warnings.simplefilter("always")
        getattr(llama_cpp, name)(*arguments)
    (warning,) = caught
    assert (warning.category, warning.filename) == (DeprecationWarning, __file__)
    assert str(warning.message) == warnings_there()[name]


def test_a_deprecated_function_does_what_it_stands_for(model: Any) -> None:
    vocab = llama_cpp.llama_model_get_vocab(model)
    with pytest.warns(DeprecationWarning, match="use llama_vocab_bos instead"):
        assert llama_cpp.llama_token_bos(vocab) == llama_cpp.llama_vocab_bos(vocab)
    with pytest.warns(DeprecationWarning, match="use llama_model_n_embd instead"):
        assert llama_cpp.llama_n_embd(model) == llama_cpp.llama_model_n_embd(model)


def test_the_names_for_annotations_can_be_subscripted() -> None:
    for name in ("CtypesArray", "CtypesPointer", "CtypesPointerOrRef", "CtypesRef"):
        assert getattr(llama_cpp, name)[ctypes.c_int32]


def test_the_type_of_a_handle_gives_back_what_it_is_called_with() -> None:
    """It is a NewType there."""
    handles = [name for name, value in assigned().items() if "NewType" in ast.dump(value)]
    documented = {"llama_context_p", "llama_model_p"}  # as pointer types, by the low-level API's documentation
    assert set(handles) > documented
    assert [name for name in handles if name not in documented and getattr(llama_cpp, name)(5) != 5] == []
