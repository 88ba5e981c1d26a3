"""Measure nanoseconds a call: llama-cpp-python's ctypes module, llamacffi.llama_cpp, and C by hand, in one process.

Each contender has its own copy of the engine, a model and a context of its own. They take turns in rounds, so that
what disturbs the machine hits all alike, and the fastest round of each counts. Relies on a built source tree (the
static libraries under build/native) and on Linux' linker.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import math
import re
import subprocess
import sys
import sysconfig
import timeit
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from llamacffi import default_model, llama_cpp

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build"

CONTEXT = 256  # tokens
TOKEN = 1000  # any token that is text
TEXT = b"Hello, world!"
SPELL = 0.004  # seconds that one contender calls one function in a round: short beside a time slice of the scheduler

# What the targets are about: the geometric mean over these.
COUNTED = (
    "llama_n_ctx",
    "llama_vocab_is_eog",
    "llama_token_to_piece",
    "llama_get_logits_ith",
    "llama_batch_get_one",
    "llama_get_memory",
)
OTHERS = ("llama_context_default_params", "llama_vocab_get_text", "llama_tokenize")
ADDRESSES = {"llama_get_memory"}  # results that differ between contenders, as they should

LEAST_SPEEDUP = 3.0  # over ctypes
MOST_OVERHEAD = 1.5  # times C by hand

Times = dict[str, float]  # nanoseconds a call, by function


@dataclass(frozen=True)
class Contender:
    """One way to call llama.cpp, with a context that has logits."""

    name: str
    api: Any
    vocab: int
    context: int


# ---------------------------------------------------------------- the contenders


def by_hand(model: Path) -> Contender:
    api = import_file("by_hand", build_by_hand())
    api.use_types(llama_cpp.llama_batch, llama_cpp.llama_context_params, ctypes.POINTER(ctypes.c_float))
    return Contender("by hand", api, *api.open(bytes(model), CONTEXT, TOKEN))


def llamacffi(model: Path) -> Contender:
    return Contender("llamacffi", llama_cpp, *open_context(llama_cpp, model))


def ctypes_peer(package: Path, model: Path) -> Contender:
    api = import_peer(package)
    return Contender("ctypes", api, *open_context(api, model))


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


def open_context(api: Any, model: Path) -> tuple[int, int]:
    """Return the vocabulary and a context that has decoded one token, made by the documented calls."""
    silence(api)
    api.llama_backend_init()
    loaded = api.llama_model_load_from_file(bytes(model), api.llama_model_default_params())
    params = api.llama_context_default_params()
    params.n_ctx = CONTEXT
    params.n_threads = params.n_threads_batch = 1  # more than there are cores would spin on each other
    context = api.llama_init_from_model(loaded, params)
    if api.llama_decode(context, api.llama_batch_get_one((ctypes.c_int32 * 1)(TOKEN), 1)) != 0:
        raise SystemExit(f"{api.__name__} cannot decode with {model}")
    return api.llama_model_get_vocab(loaded), context


def silence(api: Any) -> None:
    ignore = api.llama_log_callback(lambda *_: None)
    api.llama_log_set(ignore, None)
    kept_alive.append(ignore)


kept_alive: list[object] = []  # ctypes frees a callback that nobody refers to


# ---------------------------------------------------------------- C by hand


def build_by_hand() -> Path:
    """Compile by_hand.c against the same static libraries as the extension, unless it is newer than they are."""
    archives = sorted((BUILD / "native").glob("**/*.a"))
    if not archives:
        raise SystemExit("build/native has no static libraries: run `pip install -e . --no-build-isolation` first")
    built = BUILD / "benchmarks" / f"by_hand{sysconfig.get_config_var('EXT_SUFFIX')}"
    sources = [HERE / "by_hand.c", *archives]
    if not built.exists() or built.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        built.parent.mkdir(exist_ok=True)
        subprocess.run(compile_command(archives, built), check=True)
    return built


def compile_command(archives: list[Path], target: Path) -> list[str]:
    source = llama_cpp_source()
    includes = [source / "include", source / "ggml" / "include", sysconfig.get_path("include")]
    return [
        *("c++", "-shared", "-fPIC", "-O3", "-DNDEBUG", "-fvisibility=hidden"),
        *(f"-I{folder}" for folder in includes),
        *("-x", "c", str(HERE / "by_hand.c"), "-x", "none"),
        # Three engines share the process: none may see another's symbols.
        *(
            "-Wl,--exclude-libs,ALL",
            "-Wl,--start-group",
            *map(str, archives),
            "-Wl,--end-group",
            "-lpthread",
            "-ldl",
            "-lm",
        ),
        *("-o", str(target)),
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
    context, vocab = contender.context, contender.vocab
    piece, tokens = ctypes.create_string_buffer(64), (ctypes.c_int32 * 64)()
    return {
        "llama_n_ctx": (context,),
        "llama_vocab_is_eog": (vocab, TOKEN),
        "llama_token_to_piece": (vocab, TOKEN, piece, len(piece), 0, False),
        "llama_get_logits_ith": (context, -1),
        "llama_batch_get_one": (tokens, len(tokens)),
        "llama_get_memory": (context,),
        "llama_context_default_params": (),
        "llama_vocab_get_text": (vocab, TOKEN),
        "llama_tokenize": (vocab, TEXT, len(TEXT), tokens, len(tokens), True, False),
    }


def check_answers(contenders: list[Contender]) -> None:
    """Refuse to compare functions that do not give the same."""
    for function in (*COUNTED, *OTHERS):
        answers = {contender.name: answer(contender, function) for contender in contenders}
        if len(set(answers.values())) != 1:
            raise SystemExit(f"{function} answers differently: {answers}")


def answer(contender: Contender, function: str) -> tuple[str, object]:
    """Return the type's name of a result, and the value of one that is a plain value."""
    result = getattr(contender.api, function)(*arguments(contender)[function])
    plain = isinstance(result, int | bytes) and function not in ADDRESSES
    return type(result).__name__, result if plain else None


def timer(function: Any, given: tuple[Any, ...]) -> timeit.Timer:
    """Make a timer of the call alone: function and arguments are local variables."""
    names = [f"given{position}" for position in range(len(given))]
    setup = f"{', '.join(['function', *names])}, = bound"
    return timeit.Timer(f"function({', '.join(names)})", setup, globals={"bound": (function, *given)})


def measure(contenders: list[Contender], rounds: int) -> dict[str, Times]:
    """Return the nanoseconds of each contender's fastest rounds, without those of the loop around the calls."""
    timers = {
        (contender.name, function): timer(getattr(contender.api, function), given)
        for contender in contenders
        for function, given in arguments(contender).items()
    }
    timers["loop", ""] = timeit.Timer()
    calls = {who: calls_in_a_spell(one) for who, one in timers.items()}
    best = dict.fromkeys(timers, math.inf)
    for turn in range(rounds):
        for who in rotated(list(timers), turn):
            best[who] = min(best[who], timers[who].timeit(calls[who]) * 1e9 / calls[who])
    loop = best["loop", ""]
    print(f"Fastest of {rounds} rounds, without the {loop:.0f} ns of the loop around each call.\n")
    return {
        contender.name: {function: best[contender.name, function] - loop for function in (*COUNTED, *OTHERS)}
        for contender in contenders
    }


def calls_in_a_spell(one: timeit.Timer) -> int:
    one.timeit(100)  # what is made on first use
    return max(1, round(1000 * SPELL / one.timeit(1000)))


def rotated(names: list[tuple[str, str]], turn: int) -> list[tuple[str, str]]:
    """Let each round begin elsewhere, with the contenders side by side at each function."""
    names.sort(key=lambda name: name[1])
    start = turn % len(names)
    return names[start:] + names[:start]


# ---------------------------------------------------------------- the table


def show(times: dict[str, Times]) -> None:
    ratios = {
        f"{slow} / {fast}": {function: times[slow][function] / times[fast][function] for function in times[fast]}
        for slow, fast in (("ctypes", "llamacffi"), ("llamacffi", "by hand"))
        if slow in times
    }
    print(row("nanoseconds a call", [*times, *ratios]))
    for function in (*COUNTED, *OTHERS):
        spent = [f"{one[function]:.0f}" for one in times.values()]
        print(row(function, [*spent, *(f"{ratio[function]:.2f}" for ratio in ratios.values())]))
    means = {name: geometric_mean([ratio[function] for function in COUNTED]) for name, ratio in ratios.items()}
    print(row("geometric mean of the first six", ["" for _ in times] + [f"{mean:.2f}" for mean in means.values()]))
    print()
    show_targets(ratios, means)


def row(first: str, cells: list[str]) -> str:
    return f"{first:32}" + "".join(f"{cell:>21}" if "/" in cell else f"{cell:>11}" for cell in cells)


def geometric_mean(numbers: list[float]) -> float:
    return math.exp(sum(map(math.log, numbers)) / len(numbers))


def show_targets(ratios: dict[str, Times], means: Times) -> None:
    met = {f"at most {MOST_OVERHEAD} times C by hand (mean)": means["llamacffi / by hand"] <= MOST_OVERHEAD}
    if peer := ratios.get("ctypes / llamacffi"):
        met[f"at least {LEAST_SPEEDUP} times faster than ctypes (mean)"] = means["ctypes / llamacffi"] >= LEAST_SPEEDUP
        met["no function slower than ctypes"] = min(peer.values()) >= 1
    for target, reached in met.items():
        print(f"{'met   ' if reached else 'MISSED'}  {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ctypes", type=Path, help="the folder of the installed llama_cpp package (default: none)")
    parser.add_argument("--model", type=Path, help="a GGUF file (default: the demo's)")
    parser.add_argument("--rounds", type=int, default=100, help="(default: %(default)s)")
    given = parser.parse_args()
    model = given.model or default_model.model_path()
    contenders = [llamacffi(model), by_hand(model)]
    if given.ctypes:
        contenders.insert(0, ctypes_peer(given.ctypes.absolute(), model))
    check_answers(contenders)
    show(measure(contenders, given.rounds))


if __name__ == "__main__":
    main()
