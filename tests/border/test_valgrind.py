"""Valgrind sees no wrong access and no lost memory with one of our frames in it.

Valgrind knows no AVX-512, so the extension is linked again, from the objects that it was built from, with a ggml-cpu
that is compiled for no newer CPU than AVX2. That takes one to two minutes on two cores; valgrind itself, seconds.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import llamacffi
from support.checkout import LIBRARIES, ROOT, source, static_library
from support.processes import run

# Each path of the border once or a few times: taken, refused, thrown, called back. NumPy's import would take most of
# the time, so the buffers are those of the standard library.
SCRIPT = """
import array, ctypes, gc, sys
import llamacffi
from llamacffi import ffi, lib, llama_cpp
from llamacffi._llama import convert

def attempt(function, *given):
    try:
        return function(*given)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError):
        return None

things = [
    None, True, 5, -5, 2**70, 1.5, "text", "a\\0b", "\\udc80", b"bytes", bytearray(8), memoryview(bytearray(8)),
    memoryview(bytearray(8))[::2], array.array("i", [1, 2]), array.array("f", [1.0]), [1, 2], [1, "two"], (1, 2), {},
    object(), ctypes.c_int(5), ctypes.c_float(5), ctypes.c_void_p(8), ctypes.c_char_p(b"text"), (ctypes.c_int * 4)(),
    ctypes.byref(ctypes.c_int(5)), ctypes.byref((ctypes.c_int * 4)(), 8), ctypes.pointer(ctypes.c_int(5)),
    ctypes.POINTER(ctypes.c_int)(), llama_cpp.llama_batch(), ctypes.byref(llama_cpp.llama_token_data_array()),
    llama_cpp.llama_sampler_i(), llama_cpp.llama_model_default_params(), ffi.new("int[4]"), ffi.cast("int", 5),
    ffi.new("struct llama_batch *"), ffi.new("struct llama_batch *")[0], ffi.NULL, print,
    llama_cpp.llama_log_callback(lambda *given: None), llama_cpp.ggml_abort_callback(lambda data: False),
]
seen = set()
for name in sorted(llamacffi._native.functions):
    for position, ctype in enumerate(ffi.typeof(getattr(lib, name)).args):
        if ctype not in seen:
            seen.add(ctype)
            for thing in things:
                attempt(convert, name, position, thing, ctype)

def fail(*given):
    return 1 / 0

llamacffi.log_to("quiet")
model = llama_cpp.llama_model_load_from_file(sys.argv[1], llama_cpp.llama_model_default_params())
vocab = llama_cpp.llama_model_get_vocab(model)
params = llama_cpp.llama_context_default_params()
params.n_ctx, params.n_threads, params.n_threads_batch = 64, 1, 1
ctx = llama_cpp.llama_init_from_model(model, params)
greedy = llama_cpp.llama_sampler_init_greedy()
assert attempt(llama_cpp.llama_sampler_sample, greedy, ctx, -1) is None
llama_cpp.llama_sampler_free(greedy)
tokens = array.array("i", [0] * 16)
count = llama_cpp.llama_tokenize(vocab, " the cat", 8, tokens, 16, True, False)
batch = llama_cpp.llama_batch_get_one(tokens, count)
del tokens
gc.collect()
assert llama_cpp.llama_decode(ctx, batch) == 0
assert llama_cpp.llama_get_logits_ith(ctx, -1)[0] is not None
assert llama_cpp.llama_vocab_get_text(vocab, 5)
assert attempt(llama_cpp.llama_vocab_get_text, vocab, 10**6) is None
interface = llama_cpp.llama_sampler_i(accept=llama_cpp.llama_sampler_i_accept(fail))
interface.apply = llama_cpp.llama_sampler_i_apply(lambda sampler, candidates: None)
sampler = llama_cpp.llama_sampler_init(ctypes.byref(interface), None)
del interface
gc.collect()
attempt(llama_cpp.llama_sampler_accept, sampler, 5)
chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
llama_cpp.llama_sampler_chain_add(chain, sampler)
llama_cpp.llama_sampler_free(chain)
llama_cpp.llama_set_abort_callback(ctx, llama_cpp.ggml_abort_callback(fail), None)
attempt(llama_cpp.llama_decode, ctx, batch)
llama_cpp.llama_free(ctx)
llama_cpp.llama_model_free(model)
assert llama_cpp.llama_model_load_from_file("/no/such/file", llama_cpp.llama_model_default_params()) is None
print("done", len(seen))
"""

EXTENSION = "_llama.abi3.so"


def tool(name: str) -> str:
    """Find a build tool, also where it stands beside a Python whose folder is not on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which(name, path=path)
    assert found, f"{name} is needed: pip install {name}"
    return found


def build(*command: str | Path) -> None:
    ended = run(*command)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def portable_ggml_cpu(folder: Path) -> Path:
    """Compile ggml-cpu for the CPU that valgrind knows."""
    options = ["-DGGML_NATIVE=OFF", "-DCMAKE_BUILD_TYPE=Release", f"-DLLAMACFFI_SOURCE={source()}", "-DGIT_EXE="]
    options += [f"-DPython_EXECUTABLE={sys.executable}", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    build(tool("cmake"), "-S", ROOT / "csrc", "-B", folder, "-G", "Ninja", *options)
    build(tool("cmake"), "--build", folder, "--target", "ggml-cpu")
    return next(folder.rglob("libggml-cpu.a"))


@pytest.fixture(scope="session")
def portable_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with an extension that runs on an older CPU; returns the folder to import it from."""
    folder = tmp_path_factory.mktemp("portable")
    package = folder / "llamacffi"
    shutil.copytree(Path(llamacffi.__file__).parent, package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    objects = (ROOT / "build" / "native" / "CMakeFiles" / "_llama.dir").rglob("*.o")
    others = [static_library(name) for name in LIBRARIES if name != "ggml-cpu"]
    archives: list[str | Path] = [
        "-Wl,--start-group",
        portable_ggml_cpu(folder / "build"),
        *others,
        "-Wl,--end-group",
    ]
    build("c++", "-shared", "-o", package / EXTENSION, *objects, *archives, "-lpthread", "-ldl", "-lm")
    return folder


def errors_of(report: Path) -> list[str]:
    """Return the errors of a report that have a frame in the extension, each with its frames."""
    errors = ElementTree.parse(report).iter("error")
    return [text for text in map(frames_of, errors) if EXTENSION in text]


def frames_of(error: ElementTree.Element) -> str:
    frames = [f"  {frame.findtext('fn')} in {frame.findtext('obj')}" for frame in error.iter("frame")]
    what = error.findtext("what") or error.findtext("xwhat/text")
    return "\n".join([f"{error.findtext('kind')}: {what}", *frames])


@pytest.mark.long
def test_valgrind_finds_no_error_with_a_frame_of_ours(portable_package: Path, tiny_path: Path, tmp_path: Path) -> None:
    """CPython's own allocator hides what it hands out, hence PYTHONMALLOC."""
    report = tmp_path / "report.xml"
    valgrind = ["valgrind", "--leak-check=full", "--show-leak-kinds=definite", "--xml=yes", f"--xml-file={report}"]
    command: list[str | Path] = [*valgrind, "--num-callers=40", sys.executable, "-c", SCRIPT, tiny_path]
    environment = {**os.environ, "PYTHONMALLOC": "malloc", "PYTHONPATH": str(portable_package)}
    ended = run(*command, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("done ")
    assert errors_of(report) == []


@pytest.mark.long
def test_valgrind_s_report_is_read_right(tmp_path: Path) -> None:
    """An error that is there is found: one frame in the extension, one elsewhere."""
    frame = "<stack><frame><obj>{}</obj><fn>f</fn></frame></stack>"
    error = "<error><kind>InvalidRead</kind><what>Invalid read</what>{}</error>"
    stacks = [frame.format(f"/somewhere/{EXTENSION}"), frame.format("/usr/bin/python3")]
    report = tmp_path / "report.xml"
    report.write_text(f"<valgrindoutput>{''.join(map(error.format, stacks))}</valgrindoutput>")
    assert errors_of(report) == [f"InvalidRead: Invalid read\n  f in /somewhere/{EXTENSION}"]
