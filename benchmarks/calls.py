"""Nanoseconds a call: 14 functions over all ways of conversion, by seven contenders in one process.

ctypes is llama-cpp-python's own module; `lib` is cffi's object of llamacffi, which goes through the border as well;
plain cffi is what cffi makes of the same declarations, without the border; C is by_hand.c, which keeps the GIL or
releases it. Each contender but llamacffi's three has an engine, a model and a context of its own; all must give the
same before they are measured. Relies on a built source tree (the static libraries under build/native) and on Linux'
linker.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import re
import subprocess
import sys
import sysconfig
import timeit
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.workers import ROOT

GROUP = "calls"
BUILD = ROOT / "build"
OURS, BY_NAME, LIB = "llamacffi", "llamacffi, by name", "llamacffi, lib"
PEER, CFFI = "ctypes", "plain cffi"
C, C_RELEASED = "C", "C, GIL released"

CONTEXT = 256  # tokens
TOKEN = 100  # any token that is text
SPELL = 0.003  # seconds that one contender calls one function in a round: short beside a time slice of the scheduler

FUNCTIONS = (
    "llama_n_ctx",
    "llama_vocab_is_eog",
    "llama_vocab_type",
    "llama_vocab_get_score",
    "llama_vocab_get_text",
    "llama_token_to_piece",
    "llama_model_meta_val_str",
    "llama_batch_get_one",
    "llama_get_logits_ith",
    "llama_get_memory",
    "llama_memory_seq_pos_max",
    "llama_sampler_accept",
    "llama_context_default_params",
    "llama_supports_mmap",
)
# What may take long or call back: llamacffi releases the GIL around them, and so must C to be compared.
RELEASED = ("llama_model_meta_val_str", "llama_get_logits_ith", "llama_sampler_accept")
ADDRESSES = {"llama_get_memory"}  # results that differ between contenders, as they should


@dataclass(frozen=True)
class Contender:
    """One way to call llama.cpp, and what its functions are called with."""

    name: str
    api: Any
    objects: tuple[Any, ...]  # model, vocabulary, a context that has logits, its memory, a sampler
    suffix: str = ""
    by_name: bool = False

    def function(self, name: str) -> Any:
        return getattr(self.api, name + self.suffix)


# ---------------------------------------------------------------- the contenders


def contenders_of(model: Path, peer: Path | None) -> list[Contender]:
    """Open them all; `peer` is the folder of the installed llama_cpp package, if there is one."""
    import llamacffi
    from llamacffi import llama_cpp

    objects = open_objects(llama_cpp, model)
    found = [
        Contender(OURS, llama_cpp, objects),
        Contender(BY_NAME, llama_cpp, objects, by_name=True),
        Contender(LIB, llamacffi.lib, objects),
        plain_cffi(model),
        *by_hand(model),
    ]
    return [ctypes_peer(peer, model), *found] if peer else found


def by_hand(model: Path) -> list[Contender]:
    from llamacffi import llama_cpp

    api = import_file("by_hand", build_by_hand())
    api.use_types(llama_cpp.llama_batch, llama_cpp.llama_context_params, ctypes.POINTER(ctypes.c_float))
    objects = api.open(bytes(model), CONTEXT, TOKEN)
    return [Contender(C, api, objects), Contender(C_RELEASED, api, objects, "_released")]


def ctypes_peer(package: Path, model: Path) -> Contender:
    api = import_peer(package)
    return Contender(PEER, api, open_objects(api, model))


def import_file(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def import_peer(package: Path) -> Any:
    """Import the low-level module out of llama-cpp-python's package, and leave the high-level rest of it alone."""
    stand_in = ModuleType("llama_cpp")
    stand_in.__path__ = [str(package)]
    sys.modules["llama_cpp"] = stand_in
    sys.path.append(str(package.parent))  # for what it imports, where this Python does not have it
    return importlib.import_module("llama_cpp.llama_cpp")


def open_objects(api: Any, model: Path) -> tuple[Any, ...]:
    """Return a model, its vocabulary, a context that has decoded one token, its memory and a sampler."""
    silence(api)
    api.llama_backend_init()
    loaded = api.llama_model_load_from_file(bytes(model), api.llama_model_default_params())
    params = api.llama_context_default_params()
    params.n_ctx = CONTEXT
    params.n_threads = params.n_threads_batch = 1  # more than there are cores would spin on each other
    context = api.llama_init_from_model(loaded, params)
    if api.llama_decode(context, api.llama_batch_get_one((ctypes.c_int32 * 1)(TOKEN), 1)) != 0:
        raise SystemExit(f"{api.__name__} cannot decode with {model}")
    vocab, memory = api.llama_model_get_vocab(loaded), api.llama_get_memory(context)
    return loaded, vocab, context, memory, api.llama_sampler_init_greedy()


def silence(api: Any) -> None:
    ignore = api.llama_log_callback(lambda *_: None)
    api.llama_log_set(ignore, None)
    kept_alive.append(ignore)


kept_alive: list[object] = []  # ctypes frees a callback that nobody refers to

# ---------------------------------------------------------------- plain cffi

CFFI_NEEDS = (
    *("llama_log_set", "llama_backend_init", "llama_model_default_params", "llama_model_load_from_file"),
    *("llama_init_from_model", "llama_decode", "llama_model_get_vocab", "llama_sampler_init_greedy"),
)


def plain_cffi(model: Path) -> Contender:
    """Open a module that cffi makes of the functions' declarations, in API mode, with nothing of ours around it."""
    module = import_file("plain_cffi", build_plain_cffi())
    ffi, api = module.ffi, module.lib
    quiet = ffi.callback("void(enum ggml_log_level, const char *, void *)", lambda *_: None)
    kept_alive.append(quiet)
    api.llama_log_set(quiet, ffi.NULL)
    api.llama_backend_init()
    loaded = api.llama_model_load_from_file(bytes(model), api.llama_model_default_params())
    params = api.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = CONTEXT, 1, 1
    context = api.llama_init_from_model(loaded, params)
    tokens = ffi.new("int32_t[]", [TOKEN])
    if api.llama_decode(context, api.llama_batch_get_one(tokens, 1)) != 0:
        raise SystemExit(f"plain cffi cannot decode with {model}")
    vocab, memory = api.llama_model_get_vocab(loaded), api.llama_get_memory(context)
    return Contender(CFFI, CffiArguments(ffi, api), (loaded, vocab, context, memory, api.llama_sampler_init_greedy()))


class CffiArguments:
    """cffi's lib, with the arrays that it wants in the place of ctypes'."""

    def __init__(self, ffi: Any, lib: Any) -> None:
        self.ffi, self.lib = ffi, lib

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lib, name)

    def array(self, kind: str, count: int) -> Any:
        return self.ffi.new(f"{kind}[]", count)


def build_plain_cffi() -> Path:
    import cffi

    from llamacffi import _native

    folder = BUILD / "benchmarks"
    header = Path(_native.__file__).with_name("llama_cdef.h")
    archives = static_libraries()
    built = folder / f"plain_cffi{sysconfig.get_config_var('EXT_SUFFIX')}"
    if is_newer(built, [header, *archives]):
        return built
    builder = cffi.FFI()
    builder.cdef(declarations(header.read_text(encoding="utf-8")), override=True)
    headers = ("ggml-alloc.h", "ggml-cpu.h", "ggml-opt.h", "ggml-rpc.h", "gguf.h", "llama.h", "mtmd.h", "mtmd-helper.h")
    builder.set_source("plain_cffi", "\n".join(f'#include "{name}"' for name in headers), source_extension=".c")
    folder.mkdir(parents=True, exist_ok=True)
    builder.emit_c_code(str(folder / "plain_cffi.c"))
    subprocess.run(compile_command(folder / "plain_cffi.c", archives, built), check=True)
    return built


def declarations(header: str) -> str:
    """Return the types of our own declarations, and of the functions those that are called here."""
    wanted = {*FUNCTIONS, *CFFI_NEEDS}
    kept = []
    for line in re.split(r"(?<=;)\n", header):
        called = re.search(r"\b((?:llama|ggml|gguf|mtmd)_\w+)\s*\((?!\*)", re.sub(r"/\*.*?\*/", "", line, flags=re.S))
        if "typedef" in line or "{" in line or not called or called[1] in wanted:
            kept.append(line)
    return "\n".join(kept)


# ---------------------------------------------------------------- C by hand


def build_by_hand() -> Path:
    """Compile by_hand.c against the same static libraries as the extension, unless it is newer than they are."""
    source, archives = ROOT / "benchmarks" / "by_hand.c", static_libraries()
    built = BUILD / "benchmarks" / f"by_hand{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not is_newer(built, [source, *archives]):
        built.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(compile_command(source, archives, built), check=True)
    return built


def static_libraries() -> list[Path]:
    archives = sorted((BUILD / "native").glob("**/*.a"))
    if not archives:
        raise SystemExit("build/native has no static libraries: run `pip install -e . --no-build-isolation` first")
    return archives


def is_newer(built: Path, sources: Iterable[Path]) -> bool:
    return built.exists() and built.stat().st_mtime >= max(source.stat().st_mtime for source in sources)


def compile_command(code: Path, archives: list[Path], target: Path) -> list[str]:
    source = llama_cpp_source()
    headers = (source / folder for folder in ("include", "ggml/include", "tools/mtmd"))
    includes = [*headers, sysconfig.get_path("include")]
    return [
        *("c++", "-shared", "-fPIC", "-O3", "-DNDEBUG", "-fvisibility=hidden"),
        *(f"-I{folder}" for folder in includes),
        *("-x", "c", str(code), "-x", "none"),
        # Several engines share the process: none may see another's symbols.
        *("-Wl,--exclude-libs,ALL", "-Wl,--start-group", *map(str, archives), "-Wl,--end-group"),
        *("-lpthread", "-ldl", "-lm", "-o", str(target)),
    ]


def llama_cpp_source() -> Path:
    """Name the checkout that the static libraries were built from."""
    cache = (BUILD / "native" / "CMakeCache.txt").read_text(encoding="utf-8")
    found = re.search(r"^LLAMACFFI_SOURCE:\w+=(.*)$", cache, re.M)
    assert found, "csrc/CMakeLists.txt is configured with LLAMACFFI_SOURCE"
    return Path(found[1])


# ---------------------------------------------------------------- measuring


def arguments(contender: Contender) -> dict[str, tuple[Any, ...]]:
    """List what each function is called with."""
    model, vocab, context, memory, sampler = contender.objects
    if isinstance(contender.api, CffiArguments):
        piece, tokens = contender.api.array("char", 64), contender.api.array("int32_t", 64)
    else:
        piece, tokens = ctypes.create_string_buffer(64), (ctypes.c_int32 * 64)()
    return {
        "llama_n_ctx": (context,),
        "llama_vocab_is_eog": (vocab, TOKEN),
        "llama_vocab_type": (vocab,),
        "llama_vocab_get_score": (vocab, TOKEN),
        "llama_vocab_get_text": (vocab, TOKEN),
        "llama_token_to_piece": (vocab, TOKEN, piece, 64, 0, False),
        "llama_model_meta_val_str": (model, b"general.architecture", piece, 64),
        "llama_batch_get_one": (tokens, 64),
        "llama_get_logits_ith": (context, -1),
        "llama_get_memory": (context,),
        "llama_memory_seq_pos_max": (memory, 0),
        "llama_sampler_accept": (sampler, TOKEN),
        "llama_context_default_params": (),
        "llama_supports_mmap": (),
    }


def check_answers(contenders: list[Contender]) -> None:
    """Refuse to compare functions that do not give the same; plain cffi gives cdata, of which only numbers compare."""
    for function in FUNCTIONS:
        answers = {one.name: answer(one, function) for one in contenders}
        kinds = {kind for name, (kind, _) in answers.items() if name not in (CFFI, LIB)}
        values = {value for name, (_, value) in answers.items() if name != CFFI or isinstance(value, int)}
        if len(kinds) != 1 or len(values) != 1:
            raise SystemExit(f"{function} answers differently: {answers}")


def answer(contender: Contender, function: str) -> tuple[str, object]:
    """Return the type's name of a result, and the value of one that is a plain value."""
    result = contender.function(function)(*arguments(contender)[function])
    plain = isinstance(result, int | float | bytes) and function not in ADDRESSES
    return type(result).__name__, result if plain else None


def timer(contender: Contender, function: str) -> timeit.Timer:
    """Make a timer of the call alone: function and arguments are local variables."""
    given = arguments(contender)[function]
    names = [f"given{position}" for position in range(len(given))]
    named = parameters(function) if contender.by_name else []
    call = ", ".join([f"{name}={value}" for name, value in zip(named, names, strict=True)] if named else names)
    setup = f"{', '.join(['function', *names])}, = bound"
    return timeit.Timer(f"function({call})", setup, globals={"bound": (contender.function(function), *given)})


def parameters(function: str) -> list[str]:
    import inspect

    from llamacffi import llama_cpp

    return list(inspect.signature(getattr(llama_cpp, function)).parameters)


def measure_calls(contenders: list[Contender], rounds: int) -> dict[tuple[str, str], list[float]]:
    """Return the seconds of each function and contender in each round, without those of the loop around the calls."""
    timers = {(function, one.name): timer(one, function) for function in FUNCTIONS for one in contenders}
    counts = {key: calls_in_a_spell(one) for key, one in timers.items()}
    found: dict[tuple[str, str], list[float]] = {key: [] for key in timers}
    empty = timeit.Timer()
    loop = math.inf
    for turn in range(rounds):
        loop = min(loop, empty.timeit(100_000) / 100_000)
        for key in sorted(timers, key=lambda key: (FUNCTIONS.index(key[0]), hash((turn, key[1])))):
            found[key].append(timers[key].timeit(counts[key]) / counts[key])
    return {key: [max(value - loop, 1e-10) for value in values] for key, values in found.items()}


def calls_in_a_spell(one: timeit.Timer) -> int:
    one.timeit(100)  # what is made on first use
    return max(1, round(1000 * SPELL / one.timeit(1000)))


def measure(options: Any, results: Any) -> None:
    contenders = contenders_of(Path(options.models[False]), options.peer_package)
    check_answers(contenders)
    for (function, who), values in measure_calls(contenders, options.rounds(40)).items():
        results.add(GROUP, function, who, values)


# ---------------------------------------------------------------- what the targets are about


def against_c(results: Any) -> dict[str, float]:
    """Return how many times C's time each function takes, whose GIL is kept or released as llamacffi does it."""
    return {name: results.ratio(GROUP, name, OURS, C_RELEASED if name in RELEASED else C) for name in FUNCTIONS}


def geometric_mean(numbers: Iterable[float]) -> float:
    logarithms = [math.log(number) for number in numbers]
    return math.exp(sum(logarithms) / len(logarithms))
