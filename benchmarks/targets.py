"""What `python -m benchmarks --check` holds: ratios of one run, which do not depend on the machine's speed."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks import calls, data_paths, high_level, import_time, scaling, token_loop


class Target(NamedTuple):
    """A figure that must not be less, or more, than so much; `needs` are the contenders of its group."""

    text: str
    group: str
    needs: tuple[str, ...]
    value: Callable[[Any], float]
    at_least: float | None = None
    at_most: float | None = None


def of(group: str, what: str, who: str, other: str) -> Callable[[Any], float]:
    return lambda results: float(results.ratio(group, what, who, other))


def of_ctypes(results: Any) -> dict[str, float]:
    found: dict[str, float] = results.ratios(calls.GROUP, calls.PEER, calls.OURS)
    return found


def by_name(results: Any) -> float:
    ratios = results.ratios(calls.GROUP, calls.BY_NAME, calls.OURS)
    return calls.geometric_mean(value for name, value in ratios.items() if calls.parameters(name))


def loop_in_c(results: Any) -> float:
    """How fast the loop in Python is, of the one in C: the slowest of the real model's cases."""
    real = [case for case in token_loop.CASES if not case.two_layers]
    names = (f"{case.name}: a token" for case in real)
    return float(min(1 / results.ratio(token_loop.GROUP, name, token_loop.OURS, token_loop.C) for name in names))


def of_llama(model: str) -> Callable[[Any], float]:
    def value(results: Any) -> float:
        ratios = results.ratios(high_level.GROUP, high_level.PEER, high_level.OURS)
        return calls.geometric_mean(one for what, one in ratios.items() if what.startswith(model))

    return value


def beside_handles(results: Any) -> float:
    """How many times as long a call takes beside the most handles as beside one."""
    return in_rounds(results, scaling.handles(100_000), scaling.handles(1))


def two_threads(results: Any) -> float:
    return in_rounds(results, scaling.python_threads(1), scaling.python_threads(2))


def in_rounds(results: Any, what: str, other: str) -> float:
    """Return the median of the rounds' ratios of two of our lines, so that both sides are of the same moment."""
    lines = (results.lines[scaling.GROUP, name, scaling.OURS].values for name in (what, other))
    return float(statistics.median(a / b for a, b in zip(*lines, strict=True)))


TARGETS = (
    Target("calls, times faster than ctypes (geometric mean)", calls.GROUP, (calls.PEER, calls.OURS),
           lambda results: calls.geometric_mean(of_ctypes(results).values()), at_least=8),
    Target("calls, times faster than ctypes (the slowest)", calls.GROUP, (calls.PEER, calls.OURS),
           lambda results: min(of_ctypes(results).values()), at_least=2),
    Target("calls, times C by hand (geometric mean)", calls.GROUP, (calls.OURS, calls.C),
           lambda results: calls.geometric_mean(calls.against_c(results).values()), at_most=1.2),
    Target("calls, times C by hand (the slowest)", calls.GROUP, (calls.OURS, calls.C),
           lambda results: max(calls.against_c(results).values()), at_most=1.4),
    Target("arguments by name, times by position", calls.GROUP, (calls.BY_NAME,), by_name, at_most=1.3),
    Target("import, of the peer's", import_time.GROUP, (import_time.PEER,),
           of(import_time.GROUP, import_time.WHAT, import_time.OURS, import_time.PEER), at_most=0.06),
    Target("token loop, of C's speed", token_loop.GROUP, (token_loop.C,), loop_in_c, at_least=0.99),
    Target("Python a token, µs", token_loop.GROUP, (token_loop.C,),
           lambda results: token_loop.python_share(results) * 1e6, at_most=1.5),
    Target("filling a batch, times faster than a loop of the peer's", data_paths.GROUP, (data_paths.PEER,),
           of(data_paths.GROUP, data_paths.FILL, data_paths.PEER, data_paths.ARRAYS), at_least=20),
    Target("Llama on the real model, times the peer's speed", high_level.GROUP, (high_level.PEER,),
           of_llama(high_level.REAL), at_least=1.05),
    Target("Llama on two layers, times the peer's speed", high_level.GROUP, (high_level.PEER,),
           of_llama(high_level.TWO_LAYERS), at_least=1.3),
    Target("two Python threads, times one", scaling.GROUP, (scaling.OURS,), two_threads, at_least=1.9),
    Target("a call beside 100,000 live handles, times beside one", scaling.GROUP, (scaling.OURS,), beside_handles,
           at_most=1.05),
    Target("bytes that a million handles leave behind", scaling.GROUP, (scaling.OURS,),
           lambda results: results.lines[scaling.GROUP, scaling.GROWTH, scaling.OURS].median, at_most=1e6),
)  # fmt: skip

COMPARE: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


def judge(results: Any) -> Iterator[tuple[bool, str]]:
    """Tell of each target that was measured whether it is met, and how."""
    for target in TARGETS:
        if not results.has(target.group, *target.needs):
            continue
        value = target.value(results)
        sign, bound = (">=", target.at_least) if target.at_least is not None else ("<=", target.at_most or 0.0)
        met = COMPARE[sign](value, bound)
        yield met, f"{'met   ' if met else 'MISSED'}  {target.text}: {value:.3g} ({sign} {bound:g})"
