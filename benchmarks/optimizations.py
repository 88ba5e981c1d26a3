"""Ask whether the border gains from link-time and profile-guided optimization: python -m benchmarks.optimizations

The extension's own files are compiled and linked once more for each, by the commands of build/native, below
build/benchmarks/. The builds take turns with the 14 calls, in a process each; a ratio is the median of the rounds'
ratios to the build as it is. It takes ten minutes, and wants an idle machine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks import calls, checks, results
from benchmarks.workers import ROOT, Worker, be_worker, serve, take_turns

GROUP = "optimizations"
AS_IT_IS, LTO, PGO = "as it is", "link-time", "profile-guided"
BUILDS = ROOT / "build" / "benchmarks"
MODULE = "/module.cpp"  # which has all of a call: the wrappers, the conversions, and cffi's output
ROUNDS = 40


def work(task: dict[str, Any]) -> None:
    """Be a process with one of the builds: seconds of each call."""
    from llamacffi import llama_cpp

    ours = calls.Contender(calls.OURS, llama_cpp, calls.open_objects(llama_cpp, Path(task["model"])))
    file = sys.modules["llamacffi._llama"].__file__
    serve(file, lambda: {name: one[0] for (name, _), one in calls.measure_calls([ours], 1).items()})


# ---------------------------------------------------------------- the builds


def build_all(model: Path) -> dict[str, Path]:
    lto = build("lto", ["-flto=auto"], "")
    counts = BUILDS / "profile"
    shutil.rmtree(counts, ignore_errors=True)
    profile = [f"-fprofile-dir={counts}", "-fprofile-update=atomic"]
    train(build("pgo", ["-fprofile-generate", *profile], MODULE), model)
    return {LTO: lto, PGO: build("pgo", ["-fprofile-use", *profile, "-Wno-missing-profile"], MODULE)}


def build(name: str, flags: list[str], files: str) -> Path:
    """Compile files with flags, link them with the others, and return the folder to be found first by Python."""
    folder = BUILDS / name
    shutil.rmtree(folder / "llamacffi", ignore_errors=True)
    package = checks.copy_of_package(folder)
    *compiling, linking = checks.ninja_commands()
    made = {}
    for command in (command for command in compiling if command[-1].endswith(files)):
        here = command[command.index("-o") + 1]
        made[here] = target = folder / here
        target.parent.mkdir(parents=True, exist_ok=True)
        checks.run_in_build([*checks.without_dependencies(checks.redirected(command, "-o", target)), *flags])
    linking = [str(made.get(part, part)) for part in linking]
    checks.run_in_build([*checks.redirected(linking, "-o", package / "_llama.abi3.so"), *flags])
    return folder


def train(folder: Path, model: Path) -> None:
    """Call what is measured; the counts are written when the process ends."""
    worker = worker_with(folder, model)
    worker.round()
    worker.end()


def worker_with(folder: Path | None, model: Path) -> Worker:
    environment = {"PYTHONPATH": str(folder)} if folder else {}
    worker = Worker("optimizations", {"model": str(model), "threads": 1}, **environment)
    if folder and not Path(worker.first).is_relative_to(folder):
        raise SystemExit(f"{worker.first} was loaded, and not the build in {folder}")
    return worker


# ---------------------------------------------------------------- all of them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file (default: the demo's)")
    given = parser.parse_args()
    from llamacffi import default_model

    model = given.model or default_model.model_path()
    builds = build_all(model)
    print("\n".join(results.load_of_machine()))
    found = results.Results()
    workers = {AS_IT_IS: worker_with(None, model)} | {name: worker_with(one, model) for name, one in builds.items()}
    found.add_rounds(GROUP, take_turns(workers, ROUNDS))
    pairs = [(name, AS_IT_IS) for name in builds]
    print(results.table(found, GROUP, pairs))
    for name in builds:
        ratio = calls.geometric_mean(found.ratios(GROUP, name, AS_IT_IS).values())
        print(f"{name}: {ratio:.3f} of the time as it is (geometric mean)")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        be_worker(work)
    else:
        main()
