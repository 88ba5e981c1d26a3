"""Other extension modules call the functions of the llama.cpp that the extension holds, and link none of their own."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from llamacffi import llama_cpp as llama
from support.checkout import ROOT
from support.objects import context_of, decode, load, logits_of

pytestmark = pytest.mark.wheel

START, COUNT = 5, 12
TOKENS = (5, 9, 14, 3, 21)
USE = """
import json, sys
import numpy as np
import llamacffi
from llamacffi import llama_cpp as llama
import surprise, token_loop

llamacffi.log_to("quiet")
model = llama.llama_model_load_from_file(sys.argv[1].encode(), llama.llama_model_default_params())
vocab = llama.llama_model_get_vocab(model)
def context(): return llama.llama_init_from_model(model, llama.llama_context_default_params())
tokens = token_loop.generate(context(), vocab, {start}, {count})
bits = surprise.bits(context(), vocab, np.array({tokens}, np.int32))
print(json.dumps([tokens, bits]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the examples as their setup.py says."""
    folder = tmp_path_factory.mktemp("c_api") / "examples"
    shutil.copytree(ROOT / "examples" / "c_api", folder)
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_modules_in_c_and_cython_compute_what_python_does(built: Path, tiny_path: Path) -> None:
    script = USE.format(start=START, count=COUNT, tokens=list(TOKENS))
    ended = run(built, "-c", script, str(tiny_path))
    assert (ended.returncode, ended.stderr) == (0, "")
    tokens, bits = json.loads(ended.stdout)
    assert tokens == greedy(tiny_path)
    assert bits == pytest.approx(mean_bits(tiny_path), rel=1e-6)


def greedy(path: Path) -> list[int]:
    context, tokens = context_of(load(path)), [START]
    for _ in range(COUNT):
        decode(context, tokens[-1:])
        tokens.append(int(np.argmax(logits_of(context))))
    return tokens[1:]


def mean_bits(path: Path) -> float:
    """By NumPy, in double precision."""
    context, all_bits = context_of(load(path)), []
    for token, following in itertools.pairwise(TOKENS):
        decode(context, [token])
        logits = np.asarray(logits_of(context), np.float64)
        chances = np.exp(logits - logits.max())
        all_bits.append(-np.log2(chances[following] / chances.sum()))
    return float(np.mean(all_bits))


def test_the_modules_hold_no_llama_cpp_of_their_own(built: Path) -> None:
    for module in built.glob("*.so"):
        listed = subprocess.run(["nm", str(module)], capture_output=True, text=True, check=True).stdout
        assert "llamacffi_functions" in listed
        assert not re.search(r" (llama|ggml|gguf)_\w+$", listed, re.M)


def test_a_module_of_other_headers_is_refused(built: Path, tmp_path: Path) -> None:
    """Another fingerprint stands for a header of another llama.cpp."""
    for source in (*built.glob("*.c"), built / "surprise.pyx", built / "setup.py"):
        shutil.copy(source, tmp_path)
    include = tmp_path / "include"
    shutil.copytree(Path(llama.__file__).with_name("include"), include)
    header = include / "llamacffi.h"
    header.write_text(header.read_text().replace('LLAMACFFI_FINGERPRINT "', 'LLAMACFFI_FINGERPRINT "another '))
    setup = (tmp_path / "setup.py").read_text().replace("llamacffi.get_include()", repr(str(include)))
    (tmp_path / "setup.py").write_text(setup)
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=tmp_path, check=True)
    ended = run(tmp_path, "-c", "import token_loop")
    assert ended.stderr.splitlines()[-1] == (
        "ImportError: this module was compiled with the headers of another llamacffi than the one that is installed: "
        "compile it again"
    )


BUILDER = """
import pathlib, cffi, llamacffi
include = pathlib.Path(llamacffi.get_include())
base = cffi.FFI()
base.cdef(include.with_name("llama_cdef.h").read_text())
base.set_source("llamacffi._llama", "")
builder = cffi.FFI()
builder.include(base)
builder.cdef("int32_t tokens_of(llama_batch batch);")
source = '#include "llamacffi.h"\\nint32_t tokens_of(llama_batch batch) { return batch.n_tokens; }'
builder.set_source("of_batch", source, include_dirs=[str(include)])
builder.compile()
"""
INCLUDED = """
import llamacffi, of_batch
batch = llamacffi.lib.llama_batch_get_one(of_batch.ffi.new("llama_token[3]"), 3)
cdata = of_batch.ffi.new("llama_batch *", {"n_tokens": batch.n_tokens})
print(of_batch.lib.tokens_of(cdata[0]), of_batch.ffi.typeof("llama_batch") is llamacffi.ffi.typeof("llama_batch"))
"""


def test_another_cffi_module_includes_the_types(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", BUILDER], cwd=tmp_path, check=True, capture_output=True)
    ended = run(tmp_path, "-c", INCLUDED)
    assert (ended.stdout, ended.stderr) == ("3 True\n", "")
