"""Measure what llamacffi claims, against its peer, against C and against itself: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import ctypes_peer, results, targets
from benchmarks.workers import ROOT

OUTPUT = ROOT / "build" / "benchmarks"


class Group(NamedTuple):
    """A module of this package, and which of its contenders are compared in its table."""

    module: str
    compared: tuple[tuple[str, str], ...] = ()
    default: bool = True


GROUPS = {
    "calls": Group("calls", (("ctypes", "llamacffi"), ("plain cffi", "llamacffi"), ("llamacffi", "C"),
                             ("llamacffi", "C, GIL released"))),
    "import": Group("import_time", (("llamacffi", "llama-cpp-python"),)),
    "memory": Group("memory", (("llamacffi", "llama-cpp-python"),)),
    "token-loop": Group("token_loop", (("llamacffi", "C"), ("llama-cpp-python", "llamacffi"))),
    "data-paths": Group("data_paths", (("llama-cpp-python", "llamacffi"), ("llama-cpp-python", "llamacffi.arrays"))),
    "threads": Group("threads", (("llama-cpp-python", "llamacffi"),)),
    "high-level": Group("high_level", (("llama-cpp-python", "llamacffi"),)),
    "scaling": Group("scaling"),
    "engines": Group("engines"),
    "instructions": Group("instructions"),
    "peers": Group("peers"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Options:
    """What the groups ask for."""

    models: dict[bool, str]  # the real one, and one of two layers
    peer: Path | None  # the interpreter that has llama-cpp-python
    peer_package: Path | None
    threads: int
    effort: float

    @property
    def engines(self) -> dict[str, str]:
        """Whose interpreters run the same program."""
        return {"llamacffi": sys.executable} | ({"llama-cpp-python": str(self.peer)} if self.peer else {})

    def rounds(self, usual: int) -> int:
        return max(1, round(usual * self.effort))


def options_of(given: argparse.Namespace, folder: Path) -> Options:
    import llamacffi
    from llamacffi import default_model

    sys.path.append(str(ROOT / "tests"))
    from support import tiny_model

    tiny = tiny_model.write(folder / "two_layers.gguf", tiny_model.Shape(layers=2))
    models = {False: str(given.model or default_model.model_path()), True: str(tiny)}
    peer = None if given.without_peers else given.peer or ctypes_peer.python()
    package = ctypes_peer.package_of(peer) if peer else None
    return Options(models, peer, package, given.threads or llamacffi.usable_cpus(), given.effort)


# ---------------------------------------------------------------- what is said beside the figures


def machine(options: Options) -> Iterator[str]:
    """Name what was measured, on what."""
    import llamacffi

    info = llamacffi.build_info()
    yield f"- {cpu_name()}, {llamacffi.usable_cpus()} usable CPUs, {platform.system()} {platform.release()}"
    built = f"CPU level {info.cpu_level}, {info.compiler}"
    yield f"- CPython {platform.python_version()}, llamacffi {llamacffi.__version__} ({built})"
    yield f"- {Path(options.models[False]).name}; {options.threads} threads where nothing else is said"
    yield f"- peer: {peer_version(options)}"
    yield from (f"- **{said}**" for said in results.load_of_machine())


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.processor()


def peer_version(options: Options) -> str:
    if not options.peer_package:
        return "none (`python -m benchmarks.ctypes_peer` builds it)"
    found = next(options.peer_package.parent.glob("llama_cpp_python-*.dist-info")).name
    return found.removesuffix(".dist-info").replace("_", "-") + ", built by pip"


# ---------------------------------------------------------------- measuring


def measure_all(names: Iterable[str], options: Options) -> tuple[results.Results, list[str]]:
    found, said = results.Results(), list(machine(options))
    print("\n".join(said), flush=True)
    for name in names:
        started = time.perf_counter()
        importlib.import_module(f"benchmarks.{GROUPS[name].module}").measure(options, found)
        said += ["", f"## {name}", "", group_table(found, name)]
        print(f"\n## {name} ({time.perf_counter() - started:.0f} s)\n\n{group_table(found, name)}", flush=True)
    return found, said


def group_table(found: results.Results, name: str) -> str:
    return results.table(found, name.replace("-", " "), GROUPS[name].compared)


def tell_changes(found: results.Results, before: results.Results) -> Iterator[str]:
    """Say of each group how far its ratios are from those of another run."""
    yield "how far each ratio is from that of the other run: the median of a group, and the most"
    for name, group in GROUPS.items():
        if changes := results.changes(found, before, name.replace("-", " "), group.compared):
            apart = {what: max(change, 1 / change) - 1 for what, change in changes.items()}
            most = max(apart, key=apart.__getitem__)
            yield f"    {name}: {statistics.median(apart.values()):.1%} of {len(apart)}; {apart[most]:.1%} ({most})"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)} (default: all)")
    parser.add_argument("--check", action="store_true", help="end with 1 where a target is missed")
    parser.add_argument(
        "--against", type=Path, metavar="JSON", help="another run's results.json, to compare ratios with"
    )
    parser.add_argument("--without-peers", action="store_true", help="measure no other package")
    parser.add_argument("--peer", type=Path, metavar="PYTHON", help="an interpreter that has llama-cpp-python")
    parser.add_argument("--model", type=Path, help="a GGUF file (default: the demo's)")
    parser.add_argument("--threads", type=int, help="of a computation (default: the usable CPUs)")
    parser.add_argument("--effort", type=float, default=1.0, help="how many times the usual rounds (default: 1)")
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help="the folder of what is written (default: build/benchmarks)"
    )
    parser.add_argument("--images", type=Path, help="the folder of the plots (default: that one)")
    given = parser.parse_args()
    if unknown := [name for name in given.groups if name not in GROUPS]:
        parser.error(f"there is no group {unknown[0]!r}: use {', '.join(GROUPS)}")
    return given


def wanted(given: argparse.Namespace) -> list[str]:
    return given.groups or [name for name in GROUPS if not (given.without_peers and name in ("peers", "high-level"))]


def main() -> int:
    """Measure, print, write and judge."""
    given = parse()
    before = results.load(given.against) if given.against else None  # before it is written over
    with tempfile.TemporaryDirectory() as name:
        options = options_of(given, Path(name))
        found, said = measure_all(wanted(given), options)
        ends = mistakes_of(options) if "calls" in wanted(given) else {}
    verdicts = list(targets.judge(found))
    said += ["", "## targets", "", *(f"    {text}" for _, text in verdicts)]
    print("\n" + "\n".join(text for _, text in verdicts))
    if before:
        print("\n" + "\n".join(tell_changes(found, before)))
    write(given, found, said, ends)
    return 1 if given.check and not all(met for met, _ in verdicts) else 0


def mistakes_of(options: Options) -> dict[str, list[str]]:
    """See how mistakes end, beside the calls, in the image that README.md shows."""
    from benchmarks import mistakes

    if not options.peer_package:
        return {}
    return mistakes.ends({"ctypes": options.peer_package, "llamacffi": None}, Path(options.models[False]))


def write(given: argparse.Namespace, found: results.Results, said: list[str], ends: dict[str, list[str]]) -> None:
    given.output.mkdir(parents=True, exist_ok=True)
    results.save(found, given.output / "results.json")
    (given.output / "results.md").write_text("\n".join(said) + "\n", encoding="utf-8")
    from benchmarks import plots

    plots.draw(found, ends, given.images or given.output)
    print(f"\n{given.output}/results.json, results.md and plots are written")


if __name__ == "__main__":
    sys.exit(main())
