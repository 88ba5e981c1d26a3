"""The type stub that the build makes: every function, constant and struct of the facade, with the header's words."""

from __future__ import annotations

import ast
import ctypes
from typing import Any

import pytest

from llamacffi import lib, llama_cpp
from support.checkout import ROOT


@pytest.fixture(scope="module")
def stub() -> dict[str, ast.stmt]:
    text = (ROOT / "build" / "native" / "generated" / "llama_cpp.pyi").read_text(encoding="utf-8")
    named = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            named[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            named[node.target.id] = node
    return named


def test_every_name_of_the_extension_is_in_the_stub(stub: dict[str, Any]) -> None:
    # what only the compiler can evaluate has no entry; the stub's __getattr__ stands for it
    assert set(dir(lib)) - set(stub) == {"GGML_TENSOR_SIZE"}


def test_a_function_has_its_parameters_and_the_headers_comment(stub: dict[str, Any]) -> None:
    node = stub["llama_get_logits_ith"]
    assert [argument.arg for argument in node.args.posonlyargs] == ["ctx", "i"]
    assert "float *llama_get_logits_ith(struct llama_context *ctx, int32_t i)" in ast.get_docstring(node)
    assert "returns NULL for invalid ids." in ast.get_docstring(node)


@pytest.mark.parametrize("name", ["llama_batch", "llama_model_params", "llama_token_data_array"])
def test_a_struct_has_its_fields(stub: dict[str, Any], name: str) -> None:
    struct: Any = getattr(llama_cpp, name)
    assert issubclass(struct, ctypes.Structure)
    fields = [line.target.id for line in stub[name].body]
    assert fields == [field for field, _ in struct._fields_]
