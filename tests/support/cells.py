r"""Test functions that run in a child process, which they may kill, each with one exact outcome.

    @refused(LlamaValueError, r"llama_n_ctx\(\): ctx .+ not NULL")
    def test_null_is_no_context() -> None:
        llama.llama_n_ctx(None)

A function gets by the names of its parameters what support/child.py makes for it (`model`, `ctx`, `vocab`, `folder`);
the others are those of `pytest.mark.parametrize`, and are pickled. The functions of a file run in one child, one after
the other; one that kills the child fails alone, and another child goes on behind it. A function that is marked
`alone` has a child of its own, whose end is part of the outcome.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import pickle
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.checkout import TESTS
from support.child import PROVIDED, Job, told
from support.processes import run_python

alone = pytest.mark.alone

Test = Callable[..., object]
Judge = Callable[[str, dict[str, Any]], None]
Outcomes = dict[str, str]
KNOWN = pytest.StashKey[Outcomes]()


def returns(value: object) -> Callable[[Test], Test]:
    """State what the function returns, to the type."""

    def judge(outcome: str, given: dict[str, Any]) -> None:
        assert outcome == told(value)

    return functools.partial(_in_child, judge)


def raises(kind: type[BaseException], says: str | Callable[..., str]) -> Callable[[Test], Test]:
    """State the exception that ends the function.

    Args:
        kind: its type; one derived from it is another outcome.
        says: a regular expression for how its text begins, or a function that makes one of the test's parameters.
    """

    def judge(outcome: str, given: dict[str, Any]) -> None:
        text = says if isinstance(says, str) else says(**given)
        assert re.match(f"{kind.__name__}: {text}", outcome, re.S), f"{outcome}\nis not {kind.__name__}: {text}"

    return functools.partial(_in_child, judge)


def refused(kind: type[Exception], says: str | Callable[..., str]) -> Callable[[Test], Test]:
    """State the exception with which a call of the package refuses: its text begins with the function's name."""
    if isinstance(says, str):
        assert re.match(r"\w+\\\(\\\)", says), f"{says!r} does not begin with the name of a function"
    return raises(kind, says)


def ends_with(status: int) -> Callable[[Test], Test]:
    """State the status with which the function ends the process that it has `alone`."""

    def judge(outcome: str, given: dict[str, Any]) -> None:
        assert outcome.startswith(f"ended with {status}\n")

    return functools.partial(_in_child, judge)


def _in_child(judge: Judge, function: Test) -> Test:
    @functools.wraps(function)
    def test(request: pytest.FixtureRequest, **given: Any) -> None:
        judge(_outcome_of(request), given)

    names = [name for name in inspect.signature(function).parameters if name not in PROVIDED]
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ["request", *names]]
    vars(test)["__signature__"] = inspect.Signature(parameters)  # what pytest reads
    marked: Test = pytest.mark.cell(test)
    return marked


def _outcome_of(request: pytest.FixtureRequest) -> str:
    known = request.config.stash.setdefault(KNOWN, {})
    node = request.node
    if node.nodeid not in known:
        known |= outcomes(_together_with(node, request.session.items))
    return known[node.nodeid]


def _together_with(node: Any, items: Sequence[Any]) -> list[Job]:
    """Return the jobs of the tests that share a child with this one."""
    if node.get_closest_marker("alone"):
        return [_job(node)]
    same_file = [item for item in items if item.path == node.path and item.get_closest_marker("cell")]
    return [_job(item) for item in same_file if not item.get_closest_marker("alone")]


def _job(item: Any) -> Job:
    given: Mapping[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    is_alone = item.get_closest_marker("alone") is not None
    return Job(item.nodeid, item.path, item.originalname, dict(given), is_alone)


def outcomes(jobs: Sequence[Job]) -> Outcomes:
    """Do the jobs in a child, and in another one what is left when it dies."""
    found: Outcomes = {}
    while left := [job for job in jobs if job.name not in found]:
        found |= _of_one_child(left)
    return found


def _of_one_child(jobs: list[Job]) -> Outcomes:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "jobs").write_bytes(pickle.dumps(jobs))
        ended = run_python("import support.child; support.child.main()", folder, env=environment)
        assert (folder / "outcomes").exists(), f"the child did not start:\n{ended.stderr}"
        found: Outcomes = dict(map(json.loads, (folder / "outcomes").read_text().splitlines()))
    if ended.returncode:
        culprit = jobs[min(len(found), len(jobs) - 1)].name
        found[culprit] = f"ended with {ended.returncode}\n{found.get(culprit, '')}\n{ended.stderr[-5000:]}"
    return found
