"""`python -m benchmarks` measures, writes what it says it writes, and judges: with few rounds, and a tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import calls, results, targets
from support.checkout import ROOT


@pytest.fixture(scope="module")
def run(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("benchmarks")
    options = ["--without-peers", "--effort", "0.1", "--threads", "1", "--model", tiny_path, "--output", folder]
    command = [sys.executable, "-m", "benchmarks", "calls", "import", "memory", "engines", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True), folder


def test_it_ends_well_and_prints_a_table_a_group(run: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    ended, _ = run
    assert ended.returncode == 0, ended.stderr[-2000:]
    for group in ("calls", "import", "memory", "engines"):
        assert f"\n## {group} (" in ended.stdout
    assert "| llama_n_ctx |" in ended.stdout
    assert "calls, times C by hand (geometric mean)" in ended.stdout


def test_it_writes_all_values_for_pyperf_and_the_tables(run: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, folder = run
    suite = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    names = {one["metadata"]["name"] for one in suite["benchmarks"]}
    assert {f"calls: {name} ({calls.OURS})" for name in calls.FUNCTIONS} <= names
    assert "| llama_n_ctx |" in (folder / "results.md").read_text(encoding="utf-8")
    assert (folder / "calls.png").read_bytes().startswith(b"\x89PNG")


def test_a_group_that_is_none_is_refused_in_one_sentence() -> None:
    ended = subprocess.run([sys.executable, "-m", "benchmarks", "cals"], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "there is no group 'cals': use calls, " in ended.stderr


# ---------------------------------------------------------------- figures


def measured(**values: list[float]) -> results.Results:
    found = results.Results()
    for who, given in values.items():
        found.add("group", "thing", who, given)
    return found


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """Not that of the medians, which would be 2."""
    found = measured(one=[1.0, 20.0, 2.0], other=[1.0, 10.0, 1.0])
    assert found.ratio("group", "thing", "one", "other") == 2.0
    found = measured(one=[1.0, 9.0, 2.0], other=[1.0, 10.0, 4.0])
    assert found.ratio("group", "thing", "one", "other") == 0.9


@pytest.mark.parametrize(
    ("value", "unit", "spelled"),
    [(1.5e-8, "second", "15 ns"), (0.25, "second", "250 ms"), (2.5e6, "byte", "2.5 MB"), (1234, "integer", "1,234")],
)
def test_quantities_are_spelled_with_the_unit_that_suits_them(value: float, unit: str, spelled: str) -> None:
    assert results.readable(value, unit) == spelled


def test_a_table_has_a_row_a_thing_and_a_column_a_contender() -> None:
    found = measured(one=[2e-9], other=[1e-9])
    lines = results.table(found, "group", [("one", "other"), ("one", "absent")]).splitlines()
    assert lines == [
        "|  | one | other | one / other |",
        "| --- | ---: | ---: | ---: |",
        "| thing | 2 ns | 1 ns | 2.00 |",
    ]


def test_how_far_ratios_are_from_those_of_another_run(tmp_path: Path) -> None:
    results.save(measured(one=[2.0, 2.0], other=[1.0, 1.0]), tmp_path / "results.json")
    before = results.load(tmp_path / "results.json")
    now = measured(one=[30.0, 30.0], other=[10.0, 10.0])
    pairs = [("one", "other"), ("one", "absent")]
    assert results.changes(now, before, "group", pairs) == {"thing, one / other": 1.5}


def test_a_busy_machine_is_said_to_be_one() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        said = list(results.load_of_machine())
        busy.kill()
    assert len(said) == 1
    assert said[0].startswith("This machine is busy (")


def test_a_target_that_is_missed_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(one=[3.0])
    least = targets.Target("a figure", "group", ("one",), lambda results: 3.0, at_least=4)
    other = targets.Target("another", "group", ("absent",), lambda results: 3.0, at_most=4)
    monkeypatch.setattr(targets, "TARGETS", (least, other))
    assert list(targets.judge(found)) == [(False, "MISSED  a figure: 3 (>= 4)")]
