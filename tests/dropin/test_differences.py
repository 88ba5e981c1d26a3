"""What differs from llama-cpp-python on purpose, as docs/migrating.md says, where no other test shows it."""

from __future__ import annotations

import ctypes

import pytest
from engines import environment, package

from llamacffi import LlamaWarning, llama_cpp
from support.processes import run_python

FAILING_PROCESSOR = """
import sys
import llamacffi
llamacffi.install_as_llama_cpp()
import llama_cpp

def fail(ids, scores):
    raise LookupError("the processor failed")

llama = llama_cpp.Llama(sys.argv[1], n_ctx=64, n_threads=1, verbose=False)
try:
    llama.create_completion("Hello", max_tokens=2, logits_processor=llama_cpp.LogitsProcessorList([fail]))
except LookupError as error:
    print(error)
print(llama.create_completion("Hello", max_tokens=2)["usage"]["completion_tokens"])
llama.close()
"""


def test_what_a_logits_processor_raises_ends_the_completion_and_the_next_one_works(model_path: object) -> None:
    ended = run_python(FAILING_PROCESSOR, str(model_path), env=environment(package()))
    assert ended.stdout == "the processor failed\n2\n", ended.stderr


def test_the_types_that_are_set_on_a_function_have_no_effect() -> None:
    function = llama_cpp._lib.llama_supports_mmap
    function.argtypes, function.restype = [ctypes.c_int], ctypes.c_double
    assert function() is True
    del function.argtypes, function.restype
    assert (function.argtypes, function.restype) == ([], ctypes.c_bool)


def test_the_two_documented_handles_are_pointer_types() -> None:
    assert llama_cpp.llama_model_p is llama_cpp.llama_context_p is ctypes.POINTER(ctypes.c_void_p)


def test_the_library_path_of_llama_cpp_python_has_no_effect() -> None:
    code = "import llamacffi; llamacffi.install_as_llama_cpp(); import llama_cpp.llama_cpp"
    ended = run_python(code, env=environment(package(), LLAMA_CPP_LIB_PATH="/nowhere"))
    assert ended.returncode == 0, ended.stderr


def test_fields_that_llama_cpp_has_replaced_still_work() -> None:
    model, context = llama_cpp.llama_model_default_params(), llama_cpp.llama_context_default_params()
    model.use_mmap, model.use_mlock, context.flash_attn = False, True, True
    assert model.load_mode == llama_cpp.LLAMA_LOAD_MODE_MLOCK
    assert context.flash_attn_type == llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
    with pytest.warns(DeprecationWarning, match="seed is gone"):
        context.seed = 1
    with pytest.warns(LlamaWarning, match="Did you mean 'n_threads'"):
        context.n_theads = 4
