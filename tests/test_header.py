"""What the pinned headers declare is all there, and is what the compiler says it is.

The headers are read here with regular expressions, on purpose another way than the build reads them, and their values
and layouts are printed by C programs.
"""

from __future__ import annotations

import ctypes
import re
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cffi
import pytest

import llamacffi
from bindgen import c_facts
from llamacffi import ctypes_types, ffi, lib, llama_cpp, mtmd_cpp
from support.checkout import source

HEADERS = (
    *("llama.h", "ggml.h", "ggml-alloc.h", "ggml-backend.h", "ggml-cpu.h", "ggml-opt.h", "ggml-rpc.h", "gguf.h"),
    *("mtmd.h", "mtmd-helper.h"),
)

# Declared functions that are not there, with the reason.
EXCLUDED = {
    "ggml_threadpool_get_n_threads": "declared, defined nowhere: an extension that names it fails at import",
}

# Functions that are not built-ins of the extension, with the reason.
NOT_BUILT_IN = {
    "ggml_abort": "variadic: cffi's own object",
    "ggml_format_name": "variadic: cffi's own object",
}
PYTHONS_OWN = {"llama_model_save_to_file": "documented with a result and keywords that C's has not"}

INTEGER = re.compile(r"\(?-?(0[xX][0-9a-fA-F]+|\d+)[uUlL]*\)?")

# What the low-level API promises, from llama-cpp-python's documentation.
DOCUMENTED_FUNCTIONS = re.findall(
    r"\w+",
    """
        llama_backend_init llama_backend_free llama_numa_init
        llama_model_load_from_file llama_model_free llama_model_save_to_file
        llama_model_default_params llama_model_quantize_default_params
        llama_new_context_with_model llama_free llama_context_default_params
        llama_supports_mmap llama_supports_mlock llama_supports_gpu_offload llama_max_devices llama_time_us
        llama_n_ctx llama_n_embd
    """,
)
DOCUMENTED_VALUES = {
    "LLAMA_DEFAULT_SEED": 0xFFFFFFFF,
    "LLAMA_TOKEN_NULL": -1,
    "LLAMA_VOCAB_TYPE_NONE": 0,
    "LLAMA_VOCAB_TYPE_SPM": 1,
    "LLAMA_VOCAB_TYPE_BPE": 2,
    "LLAMA_VOCAB_TYPE_WPM": 3,
    "LLAMA_VOCAB_TYPE_UGM": 4,
    "LLAMA_VOCAB_TYPE_RWKV": 5,
}
DOCUMENTED_CONSTANTS = re.findall(
    r"\w+",
    """
        LLAMA_MAX_DEVICES
        LLAMA_FILE_MAGIC_GGLA LLAMA_FILE_MAGIC_GGSN LLAMA_FILE_MAGIC_GGSQ
        LLAMA_SESSION_MAGIC LLAMA_SESSION_VERSION LLAMA_STATE_SEQ_MAGIC LLAMA_STATE_SEQ_VERSION
        GGML_TYPE_F32 GGML_TYPE_F16
        GGML_TYPE_Q4_0 GGML_TYPE_Q4_1 GGML_TYPE_Q5_0 GGML_TYPE_Q5_1 GGML_TYPE_Q8_0 GGML_TYPE_Q8_1
        GGML_TYPE_Q2_K GGML_TYPE_Q3_K GGML_TYPE_Q4_K GGML_TYPE_Q5_K GGML_TYPE_Q6_K GGML_TYPE_Q8_K
        GGML_TYPE_IQ2_XXS GGML_TYPE_IQ2_XS GGML_TYPE_IQ3_XXS GGML_TYPE_IQ1_S GGML_TYPE_IQ4_NL GGML_TYPE_IQ3_S
        GGML_TYPE_IQ2_S GGML_TYPE_IQ4_XS GGML_TYPE_IQ1_M
        GGML_TYPE_I8 GGML_TYPE_I16 GGML_TYPE_I32 GGML_TYPE_I64
    """,
)


# Reading the headers


@cache
def header_text() -> str:
    """Return the text of all headers, without what is C++'s, without comments and with continued lines joined."""
    folders = (source() / "include", source() / "ggml" / "include", source() / "tools" / "mtmd")
    files = [next(folder / name for folder in folders if (folder / name).is_file()) for name in HEADERS]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    text = re.sub(r"^#ifdef __cplusplus\n.*?^#endif", "", text, flags=re.S | re.M)
    return re.sub(r"/\*.*?\*/|//[^\n]*|\\\n", " ", text, flags=re.S)


def declarations() -> str:
    """Return the text without the preprocessor's lines and without the macros that mark a function as deprecated."""
    plain = re.sub(r"^[ \t]*#.*$", "", header_text(), flags=re.M)
    return re.sub(r"\b(GGML_)?DEPRECATED\s*\(", " ", plain)


def functions(mark: str) -> set[str]:
    """Name the functions that are declared with the macro `mark`: what stands before the first parenthesis."""
    return set(re.findall(rf"\b{mark}\b[^;(){{}}]*?(\w+)\s*\(", declarations()))


def all_functions() -> set[str]:
    return functions("LLAMA_API") | functions("GGML_API") | functions("GGML_BACKEND_API") | functions("MTMD_API")


def integer_defines() -> set[str]:
    found = dict(re.findall(r"^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+(\S.*?)[ \t]*$", header_text(), flags=re.M))
    return {name for name, value in found.items() if INTEGER.fullmatch(found.get(value, value))}


def enumerators() -> set[str]:
    bodies = re.findall(r"\benum\b[^;{}()]*\{([^}]*)\}", declarations())
    return {match[0] for body in bodies for item in body.split(",") if (match := re.findall(r"\w+", item))}


def static_constants() -> set[str]:
    return set(re.findall(r"\bstatic const \w+ (\w+)\s*=", declarations()))


def closing(text: str, start: int) -> int:
    """Find the brace that closes the one at `start`."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise ValueError("a brace is open at the end")


@cache
def structs() -> dict[str, list[str]]:
    """Name the fields of every struct, by the C spelling of its type."""
    text, found, end = declarations(), {}, 0
    for match in re.finditer(r"\b(typedef\s+)?struct\s*(\w*)\s*\{", text):
        if match.end() <= end:
            continue  # within the one before
        end = closing(text, match.end() - 1)
        name = f"struct {match[2]}" if match[2] else re.findall(r"\w+", text[end:])[0]
        found[name] = list(fields(text[match.end() : end]))
    return found


def fields(body: str) -> Iterator[str]:
    """Name the fields; those of an unnamed struct or union count as its owner's."""
    while body.strip():
        semicolon, brace = body.find(";"), body.find("{")
        inner = ""
        if 0 <= brace < semicolon:
            end = closing(body, brace)
            inner, body = body[brace + 1 : end], body[end + 1 :]
            semicolon = body.index(";")
        declared, body = body[:semicolon], body[semicolon + 1 :]
        yield from declarators(declared) if declared.strip() else fields(inner)


def declarators(declared: str) -> list[str]:
    if function := re.search(r"\(\s*\*\s*(\w+)\s*\)", declared):
        return [function[1]]
    return [re.findall(r"\w+", re.sub(r"\[[^]]*\]", "", one))[-1] for one in declared.split(",")]


# Functions


def test_every_llama_function_is_there() -> None:
    declared = functions("LLAMA_API")
    assert len(declared) == 255
    assert declared - set(dir(lib)) == set()
    assert declared - set(dir(llama_cpp)) == set()


def test_every_ggml_and_gguf_function_is_there_or_excluded_for_a_reason() -> None:
    declared = functions("GGML_API") | functions("GGML_BACKEND_API")
    assert {"ggml_init", "ggml_backend_load_all", "ggml_backend_rpc_init", "gguf_init_from_file"} <= declared
    assert declared - set(dir(lib)) == set(EXCLUDED)
    assert declared - set(dir(llama_cpp)) == set(EXCLUDED)


def test_every_mtmd_function_is_there() -> None:
    declared = functions("MTMD_API")
    assert len(declared) == 84
    assert declared - set(dir(lib)) == set()
    assert declared - set(dir(mtmd_cpp)) == set()


@pytest.mark.parametrize(
    ("module", "others"),
    [(lib, NOT_BUILT_IN), (llama_cpp, NOT_BUILT_IN | PYTHONS_OWN)],
    ids=["lib", "llama_cpp"],
)
def test_functions_are_the_built_ins_of_the_extension(module: object, others: dict[str, str]) -> None:
    found = {name: type(getattr(module, name)) for name in all_functions() - set(EXCLUDED)}
    assert {name for name, kind in found.items() if kind is not types.BuiltinFunctionType} == set(others)


def test_what_dir_names_can_be_imported() -> None:
    assert [name for name in dir(llama_cpp) if not hasattr(llama_cpp, name)] == []


def test_a_star_import_works() -> None:
    names: dict[str, object] = {}
    exec("from llamacffi.llama_cpp import *", names)
    assert set(DOCUMENTED_FUNCTIONS) <= set(names)


# Values


@pytest.fixture(scope="module")
def values() -> dict[str, tuple[int, ...]]:
    """What a C program prints for the defines (those that hold on this platform), enumerators and constants."""
    return c_facts.values(source(), sorted(integer_defines()), sorted(enumerators() | static_constants()))


@pytest.mark.parametrize("module", [lib, llama_cpp], ids=["lib", "llama_cpp"])
def test_values_are_what_a_c_program_prints(values: dict[str, tuple[int, ...]], module: object) -> None:
    assert {"LLAMA_DEFAULT_SEED", "LLAMA_SESSION_MAGIC", "GGML_TYPE_Q4_K", "GGML_TENSOR_SIZE"} <= set(values)
    ours = {name: (getattr(module, name, None),) for name in values}
    assert ours == values


@pytest.mark.parametrize("name", DOCUMENTED_VALUES)
def test_a_documented_value_is_as_documented(name: str) -> None:
    assert getattr(llama_cpp, name) == DOCUMENTED_VALUES[name]


# Structs


@pytest.fixture(scope="module")
def layouts() -> dict[str, tuple[int, ...]]:
    """Sizes by struct, offsets and sizes by struct and field, as a C program prints them."""
    return c_facts.layouts(source(), structs())


def by_ffi(struct: str) -> dict[str, tuple[int, ...]]:
    ctype = ffi.typeof(struct)
    places = {f"{struct}.{name}": (field.offset, ffi.sizeof(field.type)) for name, field in ctype.fields}
    return {struct: (ffi.sizeof(ctype),), **places}


def by_ctypes(struct: str) -> dict[str, tuple[int, ...]]:
    structure = ctypes_types.named(struct.removeprefix("struct "))
    descriptors = {name: getattr(structure, name) for name in structs()[struct]}
    places = {f"{struct}.{name}": (field.offset, field.size) for name, field in descriptors.items()}
    return {struct: (ctypes.sizeof(structure),), **places}


def expected(layouts: dict[str, tuple[int, ...]], struct: str) -> dict[str, tuple[int, ...]]:
    return {name: place for name, place in layouts.items() if name.partition(".")[0] == struct}


@pytest.mark.parametrize("struct", structs())
def test_a_struct_is_laid_out_as_the_compiler_says(layouts: dict[str, tuple[int, ...]], struct: str) -> None:
    assert len(expected(layouts, struct)) > 1
    assert by_ffi(struct) == expected(layouts, struct)
    assert by_ctypes(struct) == expected(layouts, struct)


def test_the_structs_that_were_found_include_the_parameters() -> None:
    """So that a wrong pattern cannot leave the test above without cases."""
    assert {"struct llama_model_params", "struct llama_batch", "struct ggml_tensor", "ggml_bf16_t"} <= set(structs())


@pytest.mark.parametrize("struct", [name for name in structs() if name.startswith("struct llama_")])
def test_the_facade_has_the_struct_under_its_name(struct: str) -> None:
    name = struct.removeprefix("struct ")
    assert getattr(llama_cpp, name) is ctypes_types.named(name)
    assert issubclass(getattr(llama_cpp, name), ctypes.Structure)


# What the documentation names


@pytest.mark.parametrize("name", DOCUMENTED_FUNCTIONS)
def test_a_documented_function_is_callable(name: str) -> None:
    assert callable(getattr(llama_cpp, name))


@pytest.mark.parametrize("name", DOCUMENTED_CONSTANTS)
def test_a_documented_constant_is_an_int(name: str) -> None:
    assert type(getattr(llama_cpp, name)) is int


def test_the_documented_pointer_types_are_ctypes_types() -> None:
    assert llama_cpp.llama_model_p is ctypes.POINTER(ctypes.c_void_p)
    assert llama_cpp.llama_context_p is ctypes.POINTER(ctypes.c_void_p)
    assert llama_cpp.llama_token is ctypes.c_int32


def test_the_greatest_number_of_devices_is_the_functions_answer() -> None:
    assert llama_cpp.llama_max_devices() == llama_cpp.LLAMA_MAX_DEVICES


# The trimmed header


def test_the_package_has_the_trimmed_header_which_cffi_reads() -> None:
    text = Path(llamacffi.__file__).with_name("llama_cdef.h").read_text(encoding="utf-8")
    cffi.FFI().cdef(text)
    named = set(re.findall(r"\w+", text))
    assert (all_functions() | enumerators()) - named == set(EXCLUDED)
