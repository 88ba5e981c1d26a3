"""What public code does with the low-level module gives here what it gives over ctypes; where it looks like a mistake,
it warns.

patterns.py runs through `llamacffi run`, and beside it over ctypes, on the same engine.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import re
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engines import HERE, environment, package, run_ours, run_theirs

from llamacffi import LlamaOverflowWarning, LlamaValueError, LlamaWarning, old_code
from llamacffi import llama_cpp as llama
from support import gguf_files
from support.objects import decode
from support.processes import Ended, output_of_python

PATTERNS = HERE / "patterns.py"
NAMES = re.findall(r"^@pattern\ndef (\w+)", PATTERNS.read_text(), re.M)


def told(ended: Ended) -> dict[str, Any]:
    assert ended.returncode == 0, ended.stderr
    lines = (json.loads(line) for line in ended.stdout.splitlines())
    return {line["pattern"]: line["facts"] for line in lines}


@pytest.fixture(scope="module")
def files(tiny_path: Path) -> list[Path]:
    return [tiny_path, gguf_files.shared("adapter")]


@pytest.fixture(scope="module")
def ours(files: list[Path]) -> dict[str, Any]:
    return told(run_ours(PATTERNS, *files))


@pytest.fixture(scope="module")
def theirs(files: list[Path], peer: Path) -> dict[str, Any]:
    return told(run_theirs(peer, PATTERNS, *files))


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_what_it_gives_over_ctypes(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours[name] == theirs[name]


@pytest.mark.parametrize("name", NAMES)
def test_over_ctypes_it_works(name: str, theirs: dict[str, Any]) -> None:
    """Else both might fail alike."""
    assert not re.match(r"\w+(Error|Exception): ", str(theirs[name]))


# ---------------------------------------------------------------- what warns


def warned(category: type[Warning], says: str, call: Callable[[], object]) -> None:
    """Assert that the call warns once, and says so where it is written."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    (warning,) = caught
    assert (warning.category, warning.filename) == (category, __file__)
    assert re.search(says, str(warning.message))


WRAPPED: dict[str, Callable[[Any], object]] = {
    r"llama_sampler_init_dist\(\): seed .+ -1,": lambda memory: llama.llama_sampler_init_dist(-1),
    r"llama_sampler_init_dist\(\): seed .+ 4294967303,": lambda memory: llama.llama_sampler_init_dist(2**32 + 7),
    r"llama_memory_seq_rm\(\): p1 .+ 4294967295,": lambda memory: llama.llama_memory_seq_rm(memory, -1, -1, 2**32 - 1),
}


@pytest.mark.parametrize("says", WRAPPED)
def test_a_number_that_wraps_warns(says: str, context: Any) -> None:
    memory = llama.llama_get_memory(context)
    warned(LlamaOverflowWarning, says, lambda: WRAPPED[says](memory))


COUNTS: dict[str, Callable[[Any, Any], object]] = {
    "n_tokens_max": lambda vocab, context: llama.llama_tokenize(vocab, b"a", 1, None, 2**32 + 1, True, True),
    "n_threads": lambda vocab, context: llama.llama_set_n_threads(context, 2**32 + 1, 1),
    "min_keep": lambda vocab, context: llama.llama_sampler_init_top_p(0.5, -1),
    "n_vocab": lambda vocab, context: llama.llama_sampler_init_logit_bias(2**32 + 5, 0, None),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_length_or_a_count_does_not_wrap(name: str, vocab: Any, context: Any) -> None:
    with pytest.raises(LlamaValueError, match=rf"{name} .+ cannot hold"):
        COUNTS[name](vocab, context)


def test_bytes_that_c_writes_into_warn(vocab: Any) -> None:
    buffer = bytes(bytearray(8))
    warned(LlamaWarning, "create_string_buffer", lambda: llama.llama_token_to_piece(vocab, 5, buffer, 8, 0, True))
    assert buffer != bytes(8)


def test_bytes_that_c_writes_into_are_measured() -> None:
    with warnings.catch_warnings(), pytest.raises(LlamaValueError, match=r"split_path .+ holds 8"):
        warnings.simplefilter("ignore")
        llama.llama_split_path(bytes(bytearray(8)), 9, b"a", 0, 1)


def test_the_interpreter_s_own_bytes_are_not_written_into() -> None:
    """Those of one byte are shared by all code."""
    with pytest.raises(LlamaValueError, match="writable"):
        llama.llama_split_path(b"x", 1, b"a", 0, 1)


def test_arguments_of_an_older_signature_warn(context: Any) -> None:
    decode(context)
    library = llama._lib
    warned(LlamaWarning, r"llama_backend_init\(\) takes 0 arguments", lambda: library.llama_backend_init(False))
    warned(LlamaWarning, r"llama_get_logits\(\) takes 1 arg", lambda: library.llama_get_logits(context, 0))
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'ctx'"):
        library.llama_get_logits()
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        library.llama_n_ctx(context, 0)


def test_a_private_attribute_of_a_struct_does_not_warn() -> None:
    params = llama.llama_context_default_params()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        params._keepalive = array = ctypes.c_int()
    assert params._keepalive is array


def test_an_attribute_of_a_struct_lives_as_long_as_it() -> None:
    params, array = llama.llama_context_default_params(), (ctypes.c_int * 3)()
    params._keepalive, gone = array, weakref.ref(array)
    del array
    assert gone() is not None
    del params
    assert gone() is None


# ---------------------------------------------------------------- function objects


OBJECTS = old_code.objects()  # what the module has where it stands for llama_cpp


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_each_function_has_its_types_and_hints(name: str) -> None:
    function = OBJECTS[name]
    given = list(inspect.signature(function).parameters)
    assert len(function.argtypes) == len(given)
    assert list(function.__annotations__) == [*given, "return"]
    assert function.restype is None or ctypes.sizeof(function.restype)


def test_the_module_s_functions_are_these_where_it_stands_for_llama_cpp() -> None:
    """And they are copied and pickled by their name."""
    code = """
import copy, pickle
import llamacffi
from llamacffi import llama_cpp, old_code
built_in = llama_cpp.llama_decode
llamacffi.install_as_llama_cpp()
function = llama_cpp.llama_decode
assert function is not built_in and function is old_code.objects()["llama_decode"]
assert copy.deepcopy(function) is function
assert pickle.loads(pickle.dumps(function)) is function
"""
    output_of_python(code)


def test_the_module_s_functions_are_built_in_functions_otherwise() -> None:
    """Which CPython calls by a shorter way."""
    code = "from llamacffi import llama_cpp; print(type(llama_cpp.llama_decode) is type(len))"
    assert output_of_python(code) == "True\n"


def test_a_function_takes_keywords(context: Any) -> None:
    function = OBJECTS["llama_n_ctx"]
    assert function(ctx=context) == function(*[], **{"ctx": context}) == function(context)
    with pytest.raises(TypeError, match=r"llama_n_ctx\(\) got an unexpected keyword argument 'context'"):
        function(*[], **{"context": None})


def test_a_function_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="cannot create"):
        type(OBJECTS["llama_n_ctx"])()


def test_what_is_wrapped_calls_the_function() -> None:
    function = OBJECTS["llama_max_devices"]
    assert function.__wrapped__() == function() == function(*()) == llama.llama_max_devices()


# ---------------------------------------------------------------- llama-cpp-python is not installed


def test_alone_the_package_has_the_low_level_names() -> None:
    code = f"""
import llamacffi
llamacffi.install_as_llama_cpp()
import llama_cpp
from llama_cpp import llama_cpp as low_level
from llama_cpp import llama_batch, llama_decode, LLAMA_DEFAULT_SEED
assert llama_decode is low_level.llama_decode and llama_batch is low_level.llama_batch
assert llama_cpp.__version__ == {(package() / "llama_cpp" / "__init__.py").read_text().split('"')[1]!r}
assert llama_cpp.__file__.endswith(".py")
assert set(dir(low_level)) == set(dir(llama_cpp))
space = {{}}
exec("from llama_cpp import *", space)
assert "llama_batch" in space and "llama_decode" in space
try:
    llama_cpp.Llama
except AttributeError as error:
    assert "llamacffi adopt" in str(error), error
else:
    raise SystemExit("there is a high-level package")
"""
    output_of_python(code)


def test_the_module_has_the_same_names_at_any_time() -> None:
    """`llama-cpp-python`'s own package asks for all of them at once."""
    code = """
from llamacffi import llama_cpp
before = set(vars(llama_cpp)), dir(llama_cpp)
for name in dir(llama_cpp):
    getattr(llama_cpp, name)
assert (set(vars(llama_cpp)), dir(llama_cpp)) == before
assert "llama_batch" in before[1]
"""
    output_of_python(code)


def test_a_seed_below_zero_makes_a_completion(model_path: Path) -> None:
    code = """
import sys, llamacffi
llamacffi.install_as_llama_cpp()
from llama_cpp import Llama
llama = Llama(sys.argv[1], n_ctx=64, n_threads=1, verbose=False)
print(llama.create_completion("Hello", max_tokens=2, seed=-1, temperature=1.0)["usage"]["completion_tokens"])
"""
    assert output_of_python(code, str(model_path), env=environment(package())) == "2\n"
