"""What support/cells.py promises: what kills its child fails alone, and no outcome passes but the stated one."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from llamacffi import LlamaError, LlamaValueError
from llamacffi import llama_cpp as llama
from support import objects
from support.cells import KNOWN, ends_with, outcomes, raises, refused, returns
from support.child import Job, told


def job(function: str, name: str = "", alone: bool = False, **given: Any) -> Job:
    return Job(name or function, Path(__file__), function, given, alone)


# ---------------------------------------------------------------- what the child does


@returns(None)
def kill() -> None:
    os.abort()


@returns(5)
def give(number: int, ctx: Any) -> object:
    return number if llama.llama_n_ctx(ctx) == 256 else None


@returns(None)
def stop_decoding() -> None:
    mock.patch.object(objects, "decode", lambda ctx: -1).start()


@returns(None)
def end_badly() -> None:
    atexit.register(os._exit, 5)


def test_what_kills_the_child_fails_alone_and_the_rest_goes_on() -> None:
    found = outcomes([job("give", "before", number=1), job("kill"), job("give", "after", number=2)])
    assert found["kill"].startswith("ended with -6\n")
    assert (found["before"], found["after"]) == (told(1), told(2))


def test_after_what_breaks_the_engine_it_is_said() -> None:
    assert outcomes([job("stop_decoding")]) == {"stop_decoding": f"decoding afterwards {told(-1)}: {told(None)}"}


def test_the_end_of_the_child_is_part_of_the_outcome() -> None:
    assert outcomes([job("end_badly", alone=True)])["end_badly"].startswith(f"ended with 5\n{told(None)}")


# ---------------------------------------------------------------- how an outcome is judged

SAID = "LlamaValueError: llama_n_ctx(): ctx is NULL"
NAMED = r"llama_n_ctx\(\): ctx"


def not_called() -> None:
    raise AssertionError("its outcome is known")


def judged(decorator: Any, outcome: str) -> bool:
    known = {KNOWN: {"this test": outcome}}
    request = SimpleNamespace(node=SimpleNamespace(nodeid="this test"), config=SimpleNamespace(stash=known))
    try:
        decorator(not_called)(request=request)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(
    ("decorator", "outcome"),
    [
        (returns(1), told(1)),
        (returns(None), told(None)),
        (refused(LlamaValueError, NAMED), SAID),
        (raises(LlamaValueError, "llama"), SAID),
        (ends_with(3), "ended with 3\n"),
    ],
)
def test_the_stated_outcome_passes(decorator: Any, outcome: str) -> None:
    assert judged(decorator, outcome)


@pytest.mark.parametrize(
    ("decorator", "outcome"),
    [
        (returns(1), told(True)),
        (returns(1), told(2)),
        (returns(None), SAID),
        (returns(None), f"decoding afterwards {told(-1)}: {told(None)}"),
        (refused(LlamaValueError, NAMED), f"decoding afterwards {told(-1)}: {SAID}"),
        (refused(LlamaValueError, NAMED), told(None)),
        (refused(LlamaError, NAMED), SAID),
        (refused(LlamaValueError, r"llama_n_batch\(\): "), SAID),
        (refused(LlamaValueError, NAMED), f"ended with -11\n{SAID}"),
        (ends_with(3), "ended with 0\n"),
        (ends_with(3), told(None)),
    ],
)
def test_another_outcome_fails(decorator: Any, outcome: str) -> None:
    assert not judged(decorator, outcome)
