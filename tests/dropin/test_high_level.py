"""llama-cpp-python's high-level package on this engine, on a real model: what it gives is what it gives over ctypes.

scenarios.py runs once, through `llamacffi run`. Its facts are compared with those of the ctypes library: in this run
where LLAMACFFI_CTYPES_PEER names an installed `llama_cpp` folder of the pinned release, else with those that
record_expected.py recorded. Floats are the same to the last bit where both engines are compiled for the same CPU
features, as two engines on one machine are. Where they are not, the recorded floats are compared by size: sums are
rounded in another order there, and the model's activations are quantized to 8 bits, so that a last bit of one
layer may be 1/127 of the next one's.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from engines import EXPECTED, PEER, SCENARIOS, facts, run_ours, run_theirs

from support.processes import Ended

TOLERANCE = 0.05  # of the largest number in a row
NAMES = [name for name in json.loads(EXPECTED.read_text()) if name != "features"]


@pytest.fixture(scope="module")
def run_of_ours(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return run_ours(SCENARIOS, model_path, tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def ours(run_of_ours: Ended) -> dict[str, Any]:
    return facts(run_of_ours)


@pytest.fixture(scope="module")
def theirs(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    peer = os.environ.get(PEER)
    if not peer:
        recorded: dict[str, Any] = json.loads(EXPECTED.read_text())
        return recorded
    folder = tmp_path_factory.mktemp("theirs")
    return facts(run_theirs(Path(peer), folder, SCENARIOS, model_path, folder))


def test_every_scenario_runs_to_its_end(run_of_ours: Ended, ours: dict[str, Any]) -> None:
    assert run_of_ours.returncode == 0, run_of_ours.stderr
    assert sorted(ours) == sorted([*NAMES, "features"])


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_what_it_gives_over_ctypes(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    if ours["features"] == theirs["features"]:
        assert ours[name] == theirs[name]
    else:
        assert_alike(ours[name], theirs[name])


def assert_alike(mine: Any, other: Any) -> None:
    """Compare as ==, but floats by their size, and no hashes of them."""
    if isinstance(other, dict):
        assert mine.keys() == other.keys()
        for key in other.keys() - {"hash"}:
            assert_alike(mine[key], other[key])
    elif isinstance(other, list) and other and all(isinstance(value, float) for value in other):
        assert mine == pytest.approx(other, abs=TOLERANCE * max(map(abs, other)))
    elif isinstance(other, list):
        assert len(mine) == len(other)
        for pair in zip(mine, other, strict=True):
            assert_alike(*pair)
    else:
        assert mine == (pytest.approx(other, rel=TOLERANCE, abs=TOLERANCE) if isinstance(other, float) else other)


# What must be so whatever the other engine says.


def test_what_a_state_or_a_seed_restores_is_the_same_text(ours: dict[str, Any]) -> None:
    assert ours["state"]["same"] is True
    assert ours["seeds"]["again"] is True
    assert ours["seeds"]["another"] is True


def test_opening_and_closing_50_times_keeps_no_memory(ours: dict[str, Any]) -> None:
    assert ours["reopening"]["grown by less than 30 MB"] is True


def test_a_cache_changes_no_text(ours: dict[str, Any]) -> None:
    (first, *_, again), stored = ours["cache_in_memory"]
    assert stored is True
    assert first == again
    assert ours["cache_on_disk"] == ours["cache_in_memory"]


def test_a_lora_adapter_changes_the_numbers(ours: dict[str, Any]) -> None:
    assert ours["lora"][-1]["hash"] != ours["generate"][-1]["hash"]


def test_an_override_of_each_type_has_its_effect(ours: dict[str, Any]) -> None:
    add_bos, length, epsilon, pre, everything = ours["kv_overrides"]
    plain = length[2]
    assert add_bos[2] == [1, *plain]
    assert length[1] == everything[1] == 1234 != add_bos[1]
    assert epsilon[3]["hash"] != length[3]["hash"]
    assert pre[2] != plain
    assert everything[2] == [1, *pre[2]]


def test_the_chat_is_formatted_by_the_model_s_own_template(ours: dict[str, Any]) -> None:
    assert ours["chat"][0] == "chat_template.default"


def test_floats_of_another_cpu_may_differ_a_little_and_no_more() -> None:
    """The comparison itself, which has nothing to do where the CPU is the one that recorded."""
    recorded = {"text": "a", "hash": "1", "first": [4.0, -2.0]}
    assert_alike({"text": "a", "hash": "2", "first": [4.1, -1.9]}, recorded)
    for other in ({"first": [4.3, -2.0]}, {"text": "b"}, {"first": [4.0]}):
        with pytest.raises(AssertionError):
            assert_alike({**recorded, **other}, recorded)
