"""Compare llamacffi with the other packages of llama.cpp that the package index has: speed, import, size, memory.

    python -m benchmarks.peers [--ctypes FOLDER] [--rounds ROUNDS]

Every peer has a virtual environment of its own with a pinned wheel; llama-cpp-python has none, so FOLDER is its
installed package (`README.md` here says how to build it). All generate from the same model and the same tokens, with
two threads, by the programs in `peer_programs`, which are written against the packages' own interfaces. A process each,
and they take turns in rounds. What cannot be had or run on this machine is told in a sentence, and left out.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(__file__).with_name("peer_programs")

OURS, CTYPES = "llamacffi", "llama-cpp-python"


@dataclass(frozen=True)
class Peer:
    """How a package is had, imported and run."""

    package: str  # its folder
    program: tuple[str, ...]  # in peer_programs, and an argument of it
    imported: str  # the statement that has llama.cpp's library loaded and ready to be called
    version: str = ""  # of the wheel that is installed; the others are there already


PEERS = {
    OURS: Peer("llamacffi", ("c_functions.py", "llamacffi.llama_cpp"), "import llamacffi.llama_cpp"),
    "xllamacpp": Peer("xllamacpp", ("server_requests.py",), "import xllamacpp", "2026.10.11549"),
    "cyllama": Peer("cyllama", ("cython_classes.py",), "import cyllama.llama.llama_cpp", "0.2.18"),
    "llama-cpp-py-sync": Peer(
        "llama_cpp_py_sync",
        ("cffi_functions.py",),
        "from llama_cpp_py_sync import _cffi_bindings; _cffi_bindings.get_lib()",
        "0.11739",
    ),
    CTYPES: Peer("llama_cpp", ("c_functions.py", "llama_cpp.llama_cpp"), "import llama_cpp.llama_cpp"),
}

PIP_OPTIONS = ("--quiet", "--disable-pip-version-check", "--only-binary", ":all:")
THREADS = 2
PROMPT = 512  # tokens
CONTEXT = 2 * PROMPT
STARTS = 5  # of Python in a round, with the import and without; the medians count
LONGEST = 300.0  # seconds of one process, which has ended long before on a machine that is idle

BEGINNING = "Once upon a time, in a small village by the sea,"
TEXT = """The tide comes in twice a day, and whoever lives by the sea knows when. Boats are pulled up the beach before
it, nets are hung where the wind dries them, and the children are called home. """

Report = Callable[[str], None]  # takes a sentence
Results = dict[tuple[str, str], list[float]]  # by what was measured, and the peer

# ---------------------------------------------------------------- processes


class PeerFailedError(Exception):
    """A process of a peer did not do what it was started for; the message says why."""


def output(command: Sequence[str | Path], longest: float = LONGEST) -> str:
    """Return what a process prints.

    Raises:
        PeerFailedError: if it ends otherwise than well, or takes longer.
    """
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=longest)
    except subprocess.TimeoutExpired:
        raise PeerFailedError(f"it took more than {longest:.0f} seconds") from None
    except OSError as error:
        raise PeerFailedError(str(error)) from None
    if ended.returncode:
        raise PeerFailedError(reason(ended.returncode, ended.stderr.decode(errors="replace")))
    return ended.stdout.decode(errors="replace")


def reason(status: int, errors: str) -> str:
    """Say why a process failed: the signal that ended it, or the last line that it wrote, without folders."""
    if status < 0:
        return f"it died of {signal.Signals(-status).name}"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return re.sub(r"/\S*/", "", lines[-1])[:200] if lines else f"it ended with {status}"


# ---------------------------------------------------------------- environments


def install(folder: Path, report: Report = print) -> dict[str, Path]:
    """Make a virtual environment for each peer that has a wheel, where it isn't there yet.

    Args:
        folder: of the environments, which are kept.
        report: takes a sentence about each peer that cannot be installed or imported here.

    Returns:
        The Python of each peer that can be imported.
    """
    pythons = {}
    for name, peer in PEERS.items():
        if peer.version:
            try:
                pythons[name] = installed(folder / f"{name}-{peer.version}", f"{name}=={peer.version}")
                output([pythons[name], "-c", peer.imported])
            except PeerFailedError as error:
                pythons.pop(name, None)
                report(f"{name} {peer.version} is left out: {error}")
    return pythons


def installed(environment: Path, requirement: str) -> Path:
    """Return the Python of an environment that has the requirement; its mark is written when pip is done."""
    python, mark = environment / "bin" / "python", environment / "installed.txt"
    if not (mark.exists() and python.exists()):
        output([sys.executable, "-m", "venv", "--clear", environment])
        output([python, "-m", "pip", "install", *PIP_OPTIONS, requirement])
        mark.write_text(f"{requirement}\n")
    return python


def with_package(folder: Path, package: Path) -> Path:
    """Return the Python of an environment that finds the site-packages folder that `package` is in."""
    environment = folder / CTYPES
    output([sys.executable, "-m", "venv", "--clear", "--without-pip", environment])
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "peer.pth").write_text(f"{package.resolve().parent}\n")
    return environment / "bin" / "python"


# ---------------------------------------------------------------- measurements


def measured(pythons: dict[str, Path], model: Path, rounds: int, report: Report = print) -> Results:
    """Measure all peers in turns.

    Args:
        pythons: the Python of each peer; that of `llamacffi` too, whose text the others' are compared with.
        model: a GGUF file.
        rounds: how often; each gives a figure, but for the size, which is counted once.
        report: takes a sentence about each peer that fails, or writes another text.

    Returns:
        By ("prompt", peer) and ("generation", peer) seconds a token, by ("import", peer) seconds, by
        ("installed", peer) and ("resident", peer) bytes.
    """
    results, texts = all_rounds(pythons, model, rounds, report)
    compare(texts, report)
    return {key: values for key, values in results.items() if key[0] != "peak"}


def all_rounds(pythons: dict[str, Path], model: Path, rounds: int, report: Report) -> tuple[Results, dict[str, str]]:
    """Measure; return the figures, with the most memory as "peak", and the text of each peer."""
    results: Results = {}
    texts: dict[str, str] = {}
    given = work_of(model)
    running = list(pythons)
    for number in range(rounds):
        for name in running[:: -1 if number % 2 else 1]:
            try:
                found = one_round(name, pythons[name], given, first=not number)
            except PeerFailedError as error:
                running.remove(name)
                report(f"{name} is left out of round {number + 1} and what follows: {error}")
                continue
            texts[name] = found.pop("text")
            for what, value in found.items():
                results.setdefault((what, name), []).append(value)
    return results, texts


def one_round(name: str, python: Path, given: str, first: bool) -> dict[str, Any]:
    peer = PEERS[name]
    size = {"installed": int(output([python, PROGRAMS / "installed.py", name, peer.package]))} if first else {}
    program, *arguments = peer.program
    work: dict[str, Any] = json.loads(output([python, PROGRAMS / program, given, *arguments]))
    return {**work, "import": import_seconds(python, peer.imported), **size}


def import_seconds(python: Path, imported: str) -> float:
    """Return the seconds of the import beyond those of the same Python that imports nothing."""
    pairs = [(start_seconds(python, imported), start_seconds(python, "pass")) for _ in range(STARTS)]
    return statistics.median(one for one, _ in pairs) - statistics.median(nothing for _, nothing in pairs)


def start_seconds(python: Path, statement: str) -> float:
    started = time.perf_counter()
    output([python, "-c", statement])
    return time.perf_counter() - started


def work_of(model: Path) -> str:
    """Return what `peer_programs/measuring.py` reads: all peers get the same tokens, and none tokenizes."""
    text = tokens_of(model, TEXT)
    given = {
        "model": str(model),
        "threads": THREADS,
        "context": CONTEXT,
        "batch": PROMPT,
        "short": tokens_of(model, BEGINNING),
        "long": (text * PROMPT)[:PROMPT],
    }
    return json.dumps(given)


def tokens_of(model: Path, text: str) -> list[int]:
    """Tokenize with llamacffi, which is what this file is run with; in a process, whose log is not shown."""
    tokenize = """
import os, sys
import numpy
from llamacffi import llama_cpp as llama
params = llama.llama_model_default_params()
params.vocab_only = True
vocab = llama.llama_model_get_vocab(llama.llama_model_load_from_file(os.fsencode(sys.argv[1]), params))
text = sys.argv[2].encode()
tokens = numpy.empty(len(text) + 2, numpy.int32)
print(tokens[: llama.llama_tokenize(vocab, text, len(text), tokens, len(tokens), True, False)].tolist())
"""
    tokens: list[int] = json.loads(output([sys.executable, "-c", tokenize, str(model), text]))
    return tokens


def compare(texts: dict[str, str], report: Report) -> None:
    """Tell whose first tokens are others than ours, as those of another llama.cpp may be."""
    for name, text in texts.items():
        if OURS in texts and text != texts[OURS]:
            report(f"{name} writes {text!r}, where {OURS} writes {texts[OURS]!r}.")


GROUP = "peers"


def measure(options: Any, results: Any) -> None:
    """Measure as a group of `python -m benchmarks`."""
    folder = ROOT / "build" / "peers"
    pythons = {OURS: Path(sys.executable), **install(folder)}
    if options.peer:
        pythons[CTYPES] = options.peer
    for (what, who), values in measured(pythons, Path(options.models[False]), options.rounds(2)).items():
        unit = "byte" if what in ("installed", "resident") else "second"
        results.add(GROUP, f"{what}, a token" if what in ("prompt", "generation") else what, who, values, unit)


# ---------------------------------------------------------------- the table

COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "prompt": ("prompt, tokens/s", lambda seconds: f"{1 / seconds:.1f}"),
    "generation": ("generation, tokens/s", lambda seconds: f"{1 / seconds:.1f}"),
    "import": ("import, ms", lambda seconds: f"{seconds * 1e3:.1f}"),
    "installed": ("installed, MB", lambda count: f"{count / 1e6:.1f}"),
    "resident": ("memory, MB", lambda count: f"{count / 1e6:.1f}"),
    "peak": ("at most, MB", lambda count: f"{count / 1e6:.1f}"),
}


def show(results: Results) -> None:
    """Print a line a peer, with the medians of the rounds."""
    print(f"{'':20}" + "".join(f"{heading:>22}" for heading, _ in COLUMNS.values()))
    for name in PEERS:
        if ("prompt", name) in results:
            cells = [written(statistics.median(results[what, name])) for what, (_, written) in COLUMNS.items()]
            print(f"{name:20}" + "".join(f"{cell:>22}" for cell in cells))


def main() -> None:
    """Print the table."""
    from llamacffi import default_model

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ctypes", type=Path, help="the folder of the installed llama_cpp package (default: none)")
    parser.add_argument("--model", type=Path, help="a GGUF file (default: the demo's)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "peers", help="(default: %(default)s)")
    given = parser.parse_args()
    pythons = {OURS: Path(sys.executable), **install(given.folder)}
    if given.ctypes:
        pythons[CTYPES] = with_package(given.folder, given.ctypes)
    results, texts = all_rounds(pythons, given.model or default_model.model_path(), given.rounds, print)
    compare(texts, print)
    show(results)


if __name__ == "__main__":
    main()
