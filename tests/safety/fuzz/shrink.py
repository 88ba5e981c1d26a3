"""Leave out the calls that a death does not need, half by half and one by one, and print those that are left."""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from pathlib import Path

from fuzz import parent


def shrink(plan: parent.Plan) -> None:
    """Shorten the first seed of the plan, and print its calls as they are made."""
    plan = dataclasses.replace(plan, count=1)
    needed = list(range(plan.calls))
    if not _dies(plan, needed):
        print(f"seed {plan.first} does not die on its own")
        return
    size = len(needed) // 2
    while size:
        needed = _without_parts(plan, needed, size)
        size //= 2
    shortest = dataclasses.replace(plan, skip=_skipped(plan, needed), trace=True)
    print(f"{len(needed)} calls are left: {shortest.command}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        print(parent.started(shortest, Path(name)).stderr)


def _without_parts(plan: parent.Plan, needed: list[int], size: int) -> list[int]:
    """Try without each part of this size, the last first: what is behind the death goes at once."""
    for start in range((len(needed) - 1) // size * size, -1, -size):
        fewer = needed[:start] + needed[start + size :]
        if _dies(plan, fewer):
            needed = fewer
    return needed


def _skipped(plan: parent.Plan, needed: list[int]) -> str:
    return ",".join(str(number) for number in sorted(set(range(plan.calls)) - set(needed)))


def _dies(plan: parent.Plan, needed: list[int]) -> bool:
    attempt = dataclasses.replace(plan, skip=_skipped(plan, needed))
    with tempfile.TemporaryDirectory() as name:
        ended: subprocess.CompletedProcess[str] = parent.started(attempt, Path(name))
    return ended.returncode != 0
