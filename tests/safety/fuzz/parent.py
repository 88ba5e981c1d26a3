"""Start children that make calls, tell how each one ended, go on behind a death or a hang, and add up.

A seed alone decides which calls are made, with one thread. A child does many seeds, and what one of them leaves in the
process can matter to the next: two commands are told that do a death again, with its seed alone and with those before.
"""

from __future__ import annotations

import collections
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from fuzz.calls import Counts
from fuzz.record import last_calls
from support.checkout import ROOT, TESTS

SHOWN = 4  # calls of a thread, where a child has died
LINES = 40  # of what it wrote to stderr
PR_CAPBSET_DROP, CAP_SYS_NICE = 24, 23  # of linux/prctl.h, linux/capability.h


@dataclass(frozen=True)
class Plan:
    """What is to be done."""

    first: int = 0
    count: int = 200
    calls: int = 300
    threads: int = 1
    each: int = 150  # seeds of one child
    hang: float = 120.0
    minutes: float = 0.0  # 0: until all seeds are done
    skip: str = ""
    trace: bool = False
    full_stop: bool = False  # with the first death

    @property
    def command(self) -> str:
        options = f"--first {self.first} --seeds {self.count} --calls {self.calls} --threads {self.threads}"
        return f"python tests/safety/fuzz {options}" + (f" --skip {self.skip}" if self.skip else "")


@dataclass
class Report:
    """What came of it."""

    seeds: int = 0
    seconds: float = 0.0
    deaths: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)  # the last refusal of each function
    counts: Counts = field(default_factory=lambda: collections.defaultdict(collections.Counter))

    def add(self, outcome: dict[str, object]) -> None:
        self.seeds += 1
        for name, counts in dict(outcome["counts"]).items():  # type: ignore[call-overload]
            self.counts[name].update(counts)
        self.reasons |= dict(outcome["reasons"])  # type: ignore[call-overload]
        self.surprises += [f"seed {outcome['seed']}: {one}" for one in outcome["surprises"]]  # type: ignore[attr-defined]

    @property
    def calls(self) -> int:
        return sum(counts.total() for counts in self.counts.values())

    @property
    def is_clean(self) -> bool:
        return not (self.deaths or self.hangs or self.surprises)

    def never_worked(self) -> list[str]:
        names = sorted(name for name, counts in self.counts.items() if not counts["returned"])
        return [f"{name}, at last {self.reasons.get(name, 'raised')}" for name in names]

    def __str__(self) -> str:
        total = sum(self.counts.values(), collections.Counter())
        kinds = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(total.items()))
        speed = self.calls / self.seconds if self.seconds else 0
        return (
            f"{self.seeds:,} seeds, {self.calls:,} calls of {len(self.counts)} functions in {self.seconds:.0f} s "
            f"({speed:,.0f} a second): {kinds}; deaths {len(self.deaths)}, hangs {len(self.hangs)}, "
            f"surprises {len(self.surprises)}"
        )


def run(plan: Plan) -> Report:
    """Do all seeds of the plan, or as many as there is time for."""
    report, start = Report(), time.monotonic()
    end = start + plan.minutes * 60 if plan.minutes else float("inf")
    seed = plan.first
    while (plan.minutes or seed < plan.first + plan.count) and time.monotonic() < end:
        left = plan.each if plan.minutes else plan.first + plan.count - seed
        done = _run_child(replace(plan, first=seed, count=min(plan.each, left)), report)
        seed += done
        report.seconds = time.monotonic() - start
        if plan.full_stop and not report.is_clean:
            break
    return report


def _run_child(plan: Plan, report: Report) -> int:
    """Run one child to its end, however that is; return how many seeds it took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ended = started(plan, folder)
        outcomes = [json.loads(line) for line in _lines(folder / "outcomes")]
        for outcome in outcomes:
            report.add(outcome)
        if ended.returncode == 0:
            return plan.count
        culprit = replace(plan, first=plan.first + len(outcomes), count=1)
        is_hang = "Timeout (" in ended.stderr
        text = _told(plan, culprit, ended, list(_last_of_each_thread(folder)))
        (report.hangs if is_hang else report.deaths).append(text)
        print(text, flush=True)
        return len(outcomes) + 1


def started(plan: Plan, folder: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(TESTS), str(TESTS / "safety"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    numbers = [plan.first, plan.count, plan.calls, plan.threads]
    options = [f"--hang={plan.hang}", f"--skip={plan.skip}", *(["--trace"] if plan.trace else [])]
    return subprocess.run(
        [sys.executable, "-m", "fuzz.child", str(folder), *map(str, numbers), *options],
        preexec_fn=renounce_priority,
        cwd=folder,  # for texts that are taken for a file's name
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=None if plan.trace else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _last_of_each_thread(folder: Path) -> Iterator[str]:
    """Return the last calls of each thread, and all that had not returned."""
    threads: dict[str, list[str]] = collections.defaultdict(list)
    for line in last_calls(folder / "record") if (folder / "record").exists() else ():
        threads[line.split()[1]].append(line.replace(str(folder), "…"))
    for lines in threads.values():
        yield from [line for line in lines[:-SHOWN] if line.split()[2].startswith(">")] + lines[-SHOWN:]


def renounce_priority() -> None:
    """Take from what is executed next what root may: threads of real-time priority leave the machine to nobody else."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_NICE, 0, 0, 0)  # fails where there is nothing to take


def _told(plan: Plan, culprit: Plan, ended: subprocess.CompletedProcess[str], calls: list[str]) -> str:
    number = -ended.returncode
    how = signal.Signals(number).name if number > 0 else f"status {ended.returncode}"
    if "Timeout (" in ended.stderr:
        how = f"nothing for {plan.hang:.0f} s"
    again = culprit.command
    before = replace(plan, count=culprit.first - plan.first + 1).command
    return "\n".join(
        [
            f"seed {culprit.first}: {how}",
            *(f"  {line}" for line in calls),
            f"  again: {again}",
            f"  or, with the seeds before it: {before} --each {plan.each}",
            *(f"  | {line}" for line in _tracebacks(ended.stderr)),
        ]
    )


def _tracebacks(text: str) -> list[str]:
    """Return what is worth showing of a child's stderr: the tracebacks at its end, or else its last lines."""
    lines = text.splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith(("Fatal ", "Timeout (", "Traceback "))]
    return lines[starts[0] :][:LINES] if starts else lines[-LINES:]
