"""Fuzz what files and texts bring in, guided by coverage, with the sanitizers.

The programs of this folder are built with clang, and the targets run one after the other. What kills or hangs one is
left in build/coverage/found, and the run goes on behind it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from inputs import corpus
from support.checkout import ROOT, TESTS, load_fetch, source

HERE = Path(__file__).resolve().parent
BUILD = ROOT / "build" / "coverage"
SEEDS, CORPUS, FOUND, KEPT = (BUILD / name for name in ("seeds", "inputs", "found", "kept"))


TARGETS = ("gguf", "model", "adapter", "state", "session", "grammar", "template")
HANG = 20  # seconds

# The sanitizers make frames larger, and so a recursion that C survives too deep.
STACK = 64 * 2**20  # bytes

# "No memory" is an answer, so the limit on it is one that no machine of ours has.
LIMITS = (f"-timeout={HANG}", "-rss_limit_mb=8192", "-max_len=40000")
GO_ON = ("-fork=1", "-ignore_crashes=1", "-ignore_timeouts=1", "-ignore_ooms=1")


def build() -> None:
    """Configure and compile; the second time only what has changed."""
    options = {
        "CMAKE_BUILD_TYPE": "None",
        "CMAKE_C_COMPILER": os.environ.get("CC", "clang"),
        "CMAKE_CXX_COMPILER": os.environ.get("CXX", "clang++"),
        "GGML_NATIVE": "OFF",
        "LLAMACFFI_DEBUG": "ON",
        "LLAMACFFI_SOURCE": source().as_posix(),
        "LLAMA_BUILD_COMMIT": load_fetch().pin()["commit"],
        "LLAMA_BUILD_NUMBER": "0",
        "GIT_EXE": "",
        "Python_EXECUTABLE": sys.executable,
    }
    configure = ["cmake", "-S", str(HERE), "-B", str(BUILD), "-G", "Ninja"]
    subprocess.run([*configure, *(f"-D{name}={value}" for name, value in options.items())], check=True)
    subprocess.run(["cmake", "--build", str(BUILD)], check=True)


def environment() -> dict[str, str]:
    suppressions = ROOT / ".ci" / "sanitizers" / "ubsan.txt"
    ubsan = f"halt_on_error=1:print_stacktrace=1:suppressions={suppressions}"
    paths = os.pathsep.join(map(str, (TESTS, TESTS / "safety")))
    return {
        **os.environ,
        "LLAMACFFI_MODELS": str(SEEDS / "models"),
        "PYTHONPATH": paths,
        "UBSAN_OPTIONS": ubsan,
    }


def make_seeds() -> None:
    shutil.rmtree(SEEDS, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "inputs.seeds", SEEDS], env=environment(), check=True)
    for target in TARGETS:
        corpus.unpack(target, SEEDS / target)
        for folder in (CORPUS, FOUND):
            (folder / target).mkdir(parents=True, exist_ok=True)


def run(target: str, *arguments: str | Path) -> str:
    """Run a target's program, and return what it said."""
    command = [str(part) for part in (BUILD / target, *arguments)]
    with_stack = ["sh", "-c", f'ulimit -s {STACK // 1024}; exec "$@"', "sh", *command]
    log = BUILD / f"{target}.log"
    with log.open("wb") as said:
        subprocess.run(with_stack, stdout=said, stderr=said, env=environment(), check=False)
    return log.read_text(errors="replace")


def fuzz(target: str, seconds: int) -> int:
    """Run a target for a while, tell how that went, and return how many findings there are."""
    words, found = f"-dict={SEEDS / 'words.dict'}", f"-artifact_prefix={FOUND / target}/"
    folders = (CORPUS / target, SEEDS / target)
    said = run(target, *folders, *LIMITS, *GO_ON, words, found, f"-max_total_time={seconds}")
    done = re.findall(r"^#(\d+): cov: (\d+) ft: (\d+) corp: (\d+)", said, re.M)
    if not done:
        raise SystemExit(f"{target}: the program did not start:\n{said[-2000:]}")
    findings = sorted((FOUND / target).iterdir())
    executions, edges, features, inputs = done[-1]
    print(
        f"{target}: {seconds} s, {executions} executions, {edges} edges, {features} features, {inputs} inputs, "
        f"{len(findings)} findings",
        flush=True,
    )
    return len(findings)


def merged(target: str) -> list[bytes]:
    """Return the smallest inputs that reach all the code which any of them reaches."""
    shutil.rmtree(KEPT / target, ignore_errors=True)
    (KEPT / target).mkdir(parents=True)
    run(target, "-merge=1", *LIMITS, KEPT / target, CORPUS / target, SEEDS / target)
    return corpus.read_folder((KEPT / target).iterdir())


def keep() -> None:
    size = corpus.write({target: merged(target) for target in TARGETS})
    print(f"{corpus.ARCHIVE}: {size} bytes of at most {corpus.MOST}")


def main() -> int:
    """Do what the command line says; return whether something was found."""
    parser = argparse.ArgumentParser(prog="inputs", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--seconds", type=int, default=600, help="for each target; 0 only builds")
    parser.add_argument("--keep", action="store_true", help="put what reaches new code into corpus.tar.xz")
    given = parser.parse_args()
    build()
    make_seeds()
    findings = sum(fuzz(target, given.seconds) for target in given.targets or TARGETS) if given.seconds else 0
    if given.keep:
        keep()
    if findings:
        print(f"{findings} findings are in {FOUND}: build/coverage/TARGET FILE tries one again")
    return 1 if findings else 0
