"""The type stubs that the build makes: every name and type of the running modules, with the header's words."""

from __future__ import annotations

import ast
import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import checkers
import pytest

from llamacffi import lib, llama_cpp, mtmd_cpp
from support.checkout import ROOT

GENERATED = ROOT / "build" / "native" / "generated"
ANY_ALLOWED = 0.02


def named(module: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in ast.parse((GENERATED / f"{module}.pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            found[ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])] = node
        elif isinstance(node, ast.ImportFrom):
            found |= {one.asname or one.name: node for one in node.names}
    return found


@pytest.fixture(scope="module")
def stub() -> dict[str, Any]:
    return named("llama_cpp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkers.lay_out(GENERATED, tmp_path_factory.mktemp("stubs"))


# ---------------------------------------------------------------- type checkers


def test_mypy_takes_right_calls_and_finds_each_wrong_one(folder: Path) -> None:
    assert not checkers.differences(checkers.expected("mypy"), checkers.mypy(folder))


def test_stubtest_finds_nothing_that_the_running_modules_have_otherwise(folder: Path) -> None:
    modules = [f"llamacffi.{name.removesuffix('.pyi')}" for name in checkers.STUBS]
    settings = folder.parent / "stubtest.ini"  # the package's own modules use ctypes freely, and are checked elsewhere
    settings.write_text(
        f"[mypy]\n[mypy-llamacffi.*]\nignore_errors = true\n[mypy-{','.join(modules)}]\nignore_errors = false\n"
    )
    allowed = Path(__file__).with_name("stubtest.txt")
    options = ["--concise", "--ignore-disjoint-bases", f"--allowlist={allowed}", f"--mypy-config-file={settings}"]
    command = [sys.executable, "-m", "mypy.stubtest", *options]
    found_first = {**os.environ, "MYPYPATH": str(folder)}
    done = subprocess.run([*command, *modules], cwd=folder.parent, env=found_first, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("module", [llama_cpp, mtmd_cpp])
def test_every_public_name_of_a_module_is_in_its_stub(module: Any) -> None:
    assert set(module.__all__) <= set(named(module.__name__.removeprefix("llamacffi.")))


def test_every_name_of_the_extension_is_in_the_stub_of_lib() -> None:
    functions = named("_llama")["_Lib"].body
    names = [node.name if isinstance(node, ast.FunctionDef) else node.target.id for node in functions]
    assert {*names} == {*dir(lib)}


# ---------------------------------------------------------------- functions


def parameters(stub: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, node in stub.items():
        if isinstance(node, ast.FunctionDef) and hasattr(lib, name):
            for argument in (*node.args.posonlyargs, *node.args.args):
                yield f"{name}({argument.arg})", ast.unparse(argument.annotation or argument)


def test_hardly_a_parameter_may_be_anything(stub: dict[str, Any]) -> None:
    given = dict(parameters(stub))
    aliases = [name for name, node in stub.items() if isinstance(node, ast.AnnAssign) and "Any" in ast.unparse(node)]
    words = re.compile(rf"\b({'|'.join(['Any', 'object', *aliases])})\b")
    anything = [name for name, annotation in given.items() if words.search(annotation)]
    assert len(given) > 2000
    assert len(anything) <= ANY_ALLOWED * len(given), anything


def test_a_function_has_its_parameters_and_the_headers_comment(stub: dict[str, Any]) -> None:
    node = stub["llama_get_logits_ith"]
    assert [argument.arg for argument in node.args.args] == ["ctx", "i"]
    words = ast.get_docstring(node) or ""
    assert "float *llama_get_logits_ith(struct llama_context *ctx, int32_t i)" in words
    assert "returns NULL for invalid ids." in words


def test_a_deprecated_function_says_what_to_use(stub: dict[str, Any]) -> None:
    assert [ast.unparse(one) for one in stub["llama_n_vocab"].decorator_list] == [
        "deprecated('use llama_vocab_n_tokens instead')"
    ]


# ---------------------------------------------------------------- structs and callbacks


def types_with(attribute: str, base: type) -> list[str]:
    """The facade's own types of a kind, without those that are another name for one."""
    named = {name: getattr(llama_cpp, name) for name in sorted(llama_cpp.__all__)}
    made = {name: one for name, one in named.items() if isinstance(one, type) and issubclass(one, base)}
    return [name for name, one in made.items() if hasattr(one, attribute) and one.__name__ == name]


STRUCTS = types_with("_fields_", ctypes.Structure)
CALLBACKS = types_with("_argtypes_", llama_cpp.CtypesFuncPointer)


def names_type(annotation: ast.expr, made: Any) -> bool:
    """Whether an annotation names the ctypes type `made`, which follows from the compiler's layout of the struct."""
    if isinstance(annotation, ast.Subscript):
        kind = ctypes.Array if issubclass(made, ctypes.Array) else ctypes._Pointer
        return ast.unparse(annotation.value) == f"ctypes.{kind.__name__}" and names_type(annotation.slice, made._type_)
    text = ast.unparse(annotation)
    if text.startswith("ctypes."):
        return getattr(ctypes, text.removeprefix("ctypes.")) is made
    if text.startswith("_"):
        return issubclass(made, ctypes.Structure)  # one that has no name in C
    return issubclass(getattr(llama_cpp, text), made)  # callbacks are subclasses, with the function's name


@pytest.mark.parametrize("struct", STRUCTS)
def test_a_struct_has_its_fields_with_their_types(stub: dict[str, Any], struct: str) -> None:
    body = [line for line in stub[struct].body if isinstance(line, ast.AnnAssign)]
    kinds: dict[str, Any] = {ast.unparse(line.target): line.annotation for line in body}
    real = {name: made for name, made, *_ in getattr(llama_cpp, struct)._fields_ if name != "async"}
    assert list(kinds) == list(real)
    assert not [name for name, made in real.items() if not names_type(kinds[name].slice.elts[0], made)]


@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_callback_has_its_parameters(stub: dict[str, Any], callback: str) -> None:
    (call,) = [line for line in stub[callback].body if isinstance(line, ast.FunctionDef) and line.name == "__call__"]
    given = [kind_of(ast.unparse(one.annotation)) for one in call.args.posonlyargs[1:] if one.annotation]
    assert given == [kind_of_ctypes(made) for made in getattr(llama_cpp, callback)._argtypes_]


def kind_of(annotation: str) -> str:
    if annotation.startswith("ctypes._Pointer["):
        return "pointer"
    if annotation in CALLBACKS:
        return "callback"
    address = re.fullmatch(r"(int|\w+_[pt]) \| None", annotation)  # a handle is an address too
    return "address" if address else annotation


def kind_of_ctypes(made: Any) -> str:
    if made is ctypes.c_void_p:
        return "address"
    if made is ctypes.c_char_p:
        return "bytes | _MaybeNone"
    if issubclass(made, ctypes._SimpleCData):
        return type(made().value).__name__
    if issubclass(made, ctypes._Pointer):
        return "pointer"
    return "callback" if issubclass(made, llama_cpp.CtypesFuncPointer) else str(made.__name__)


# ---------------------------------------------------------------- help at run time


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("llama_decode", "Process a batch of tokens."),
        ("llama_tokenize", "add_special: Allow to add BOS and EOS tokens if model is configured to do so."),
        ("llama_batch", "- token  : the token ids of the input (used when embd is NULL)"),
        ("llama_token_data", "float logit;    // log-odds of the token"),
        ("ggml_bf16_t", "uint16_t bits;"),
        ("llama_sampler_i_apply", "void                   (*apply)"),
    ],
)
def test_help_has_the_headers_words(name: str, said: str) -> None:
    assert said in (getattr(llama_cpp, name).__doc__ or "")


def test_every_struct_and_callback_has_a_description() -> None:
    assert not [name for name in STRUCTS + CALLBACKS if not getattr(llama_cpp, name).__doc__]


def test_a_function_that_replaces_ctypes_has_the_same_words() -> None:
    assert llama_cpp._lib.llama_decode.__doc__ == llama_cpp.llama_decode.__doc__
