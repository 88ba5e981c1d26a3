"""What was measured: a value a round, of one thing, by one contender; with tables, ratios and pyperf's files of it.

The contenders of a thing take turns in rounds, so what else the machine does meets all of them: a ratio is the median
of the ratios of the rounds, not the ratio of two medians.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyperf

SECOND, BYTE, INTEGER = "second", "byte", "integer"
SCALES = {
    SECOND: ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    BYTE: ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
}


@dataclass(frozen=True)
class Measured:
    """One line of a group for one contender."""

    group: str
    what: str
    who: str
    values: tuple[float, ...]
    unit: str = SECOND

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half of what lies between the quarters, as a part of the median."""
        if len(self.values) < 3 or not self.median:
            return 0.0
        first, _, third = statistics.quantiles(self.values, n=4)
        return abs((third - first) / 2 / self.median)


@dataclass
class Results:
    """All that a run has measured so far."""

    lines: dict[tuple[str, str, str], Measured] = field(default_factory=dict)

    def add(self, group: str, what: str, who: str, values: Iterable[float], unit: str = SECOND) -> None:
        self.lines[group, what, who] = Measured(group, what, who, tuple(values), unit)

    def add_rounds(self, group: str, found: Mapping[str, list[dict[str, float]]]) -> None:
        """Add what workers answered, each round a dict of seconds by what was done."""
        for who, rounds in found.items():
            for what in rounds[0]:
                self.add(group, what, who, [one[what] for one in rounds])

    def of(self, group: str) -> list[Measured]:
        return [line for line in self.lines.values() if line.group == group]

    def has(self, group: str, *who: str) -> bool:
        return all(any(line.who == one for line in self.of(group)) for one in who)

    def ratio(self, group: str, what: str, who: str, other: str) -> float:
        """How many times as much `who` took as `other`."""
        pairs = zip(self.lines[group, what, who].values, self.lines[group, what, other].values, strict=True)
        return statistics.median(one / another for one, another in pairs)

    def ratios(self, group: str, who: str, other: str) -> dict[str, float]:
        """Return that for each thing that both have done."""
        both = [line.what for line in self.of(group) if line.who == who and (group, line.what, other) in self.lines]
        return {what: self.ratio(group, what, who, other) for what in both}


# ---------------------------------------------------------------- tables


def readable(value: float, unit: str) -> str:
    """Spell a quantity with three digits and the unit that suits it."""
    if unit == INTEGER:
        return f"{value:,.0f}"
    scales = SCALES[unit]
    factor, name = next((scale for scale in scales if abs(value) >= scale[0]), scales[-1])
    return f"{value / factor:.3g} {name}"


def table(results: Results, group: str, compared: Sequence[tuple[str, str]]) -> str:
    """Write a group as a Markdown table: a row a thing, a column a contender, and how they compare."""
    lines = results.of(group)
    who = list(dict.fromkeys(line.who for line in lines))
    pairs = [pair for pair in compared if results.has(group, *pair)]
    rows = [["", *who, *(f"{one} / {other}" for one, other in pairs)]]
    rows.append(["---", *["---:"] * (len(rows[0]) - 1)])
    for what in dict.fromkeys(line.what for line in lines):
        cells = [_cell(results.lines.get((group, what, one))) for one in who]
        rows.append([what, *cells, *(_ratio_cell(results, group, what, pair) for pair in pairs)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(line: Measured | None) -> str:
    if line is None:
        return ""
    spread = f" ±{line.spread:.0%}" if len(line.values) > 2 else ""
    return readable(line.median, line.unit) + spread


def _ratio_cell(results: Results, group: str, what: str, pair: tuple[str, str]) -> str:
    found = results.ratios(group, *pair)
    return f"{found[what]:.2f}" if what in found else ""


# ---------------------------------------------------------------- files


def save(results: Results, path: Path) -> None:
    """Write all values for `python -m pyperf show` and `compare_to`, with what pyperf knows of the machine."""
    pyperf.BenchmarkSuite([_benchmark(line) for line in results.lines.values()]).dump(str(path), replace=True)


def _benchmark(line: Measured) -> pyperf.Benchmark:
    place = {"group": line.group, "what": line.what, "who": line.who}
    metadata = {"name": f"{line.group}: {line.what} ({line.who})", "unit": line.unit, **place}
    values = [round(value) if line.unit == INTEGER else max(value, 1e-12) for value in line.values]  # and nothing of 0
    return pyperf.Benchmark([pyperf.Run(values, metadata=metadata, collect_metadata=True)])


def load(path: Path) -> Results:
    """Read what `save` wrote."""
    found = Results()
    for benchmark in pyperf.BenchmarkSuite.load(str(path)).get_benchmarks():
        told = benchmark.get_metadata()
        found.add(told["group"], told["what"], told["who"], benchmark.get_values(), told["unit"])
    return found


def changes(now: Results, before: Results, group: str, compared: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Return how many times its value before each ratio of a group is, of those that both runs have."""
    found: dict[str, float] = {}
    for who, other in compared:
        old = before.ratios(group, who, other)
        new = now.ratios(group, who, other)
        found |= {f"{what}, {who} / {other}": new[what] / old[what] for what in new.keys() & old.keys()}
    return found


def load_of_machine() -> Iterator[str]:
    """Say before anything is measured what else is going on, where that is more than a quarter of a CPU."""
    used, cpus = cpus_in_use(), os.cpu_count()
    if used > 0.25:
        yield f"This machine is busy ({used:.1f} of {cpus} CPUs): times are too long, and ratios uncertain."


def cpus_in_use() -> float:
    """Count the CPUs' worth of work that is done while this process sleeps for a second."""
    before = ticks_of_work()
    time.sleep(1)
    return (ticks_of_work() - before) / os.sysconf("SC_CLK_TCK")


def ticks_of_work() -> int:
    """Return what all CPUs have worked since the machine started, and what a hypervisor took from them."""
    user, nice, system, _idle, _wait, *rest = Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:9]
    return sum(map(int, (user, nice, system, *rest)))
