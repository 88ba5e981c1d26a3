"""The fuzzer tells what it finds, and its first seeds find nothing: no death, no hang, no exception of no meaning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fuzz import functions, parent
from fuzz.record import Record, last_calls

from llamacffi._native import functions as built_in
from support.processes import run, run_python

COMMAND = (sys.executable, Path(parent.__file__).parent)


def traced(seed: int) -> list[str]:
    """Return the names of the functions that a seed calls, in their order, and how each call ended."""
    printed = run(*COMMAND, "--first", str(seed), "--seeds", "1", "--calls", "60", "--trace").stdout
    return [
        line.split("(")[0].split(" 0x")[0].split(" b'")[0] for line in printed.splitlines() if line.startswith("0 ")
    ]


def test_the_same_seed_makes_the_same_calls() -> None:
    first = traced(1)
    assert len(first) > 40
    assert [line.split()[1] for line in first] == [line.split()[1] for line in traced(1)]
    assert first != traced(6)


def test_each_function_is_called_or_left_out_with_a_reason() -> None:
    called, left_out = functions.all_functions()
    assert {one.name for one in called}.isdisjoint(left_out)
    assert {one.name for one in called} | left_out.keys() == set(built_in)
    assert all(left_out.values())
    assert [name for name in left_out if name.startswith("llama_")] == ["llama_opt_param_filter_all"]


def test_the_last_calls_of_a_dead_process_are_told(tmp_path: Path) -> None:
    code = """if True:
        import os, pathlib, sys
        from fuzz.record import Record
        record = Record(pathlib.Path(sys.argv[1]))
        for number in range(20):
            record.leave(record.enter(0, f"call({number})"))
        record.enter(0, "outer()")
        record.enter(0, "inner()")
        os.abort()
    """
    safety = str(Path(parent.__file__).parents[1])
    assert run_python(code, tmp_path / "record", env={"PYTHONPATH": safety}).returncode == -6
    told = list(last_calls(tmp_path / "record"))
    assert told[-3:] == ["thread 0 .19: call(19)", "thread 0 >20: outer()", "thread 0 >21: inner()"]


def test_a_death_names_its_seed_its_call_and_a_command(monkeypatch: Any, capsys: Any) -> None:
    def dies(plan: parent.Plan, folder: Path) -> Any:
        Record(folder / "record").enter(0, "llama_lethal(1)")
        (folder / "outcomes").write_text(
            '{"seed": 7, "counts": {"llama_good": {"returned": 2}}, "reasons": {}, "surprises": []}\n'
        )
        return run_python("import os; os.abort()")

    monkeypatch.setattr(parent, "started", dies)
    report = parent.run(parent.Plan(first=7, count=2))
    assert (report.seeds, report.calls, report.hangs, report.is_clean) == (1, 2, [], False)
    (death,) = report.deaths
    assert death.startswith("seed 8: SIGABRT\n  thread 0 >0: llama_lethal(1)\n")
    assert "again: python tests/safety/fuzz --first 8 --seeds 1 --calls 300 --threads 1\n" in death
    assert death in capsys.readouterr().out


def test_a_seed_that_takes_too_long_is_told_as_a_hang() -> None:
    ended = run(*COMMAND, "--seeds", "1", "--calls", "100000", "--hang", "0.02")
    assert ended.returncode == 1
    assert "seed 0: nothing for 0 s" in ended.stdout
    assert "deaths 0, hangs 1" in ended.stdout


def test_a_child_has_no_threads_of_real_time_priority() -> None:
    """As root it could, and they would leave the machine to nobody else."""
    code = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"
    ended = subprocess.run(
        [sys.executable, "-c", code], preexec_fn=parent.renounce_priority, stderr=subprocess.PIPE, check=False
    )
    assert b"PermissionError" in ended.stderr


@pytest.mark.parametrize("kind", ["llama_context", "llama_sampler", "gguf_context"])
def test_an_address_that_was_made_up_is_tried_where_all_handles_are_known(kind: str) -> None:
    assert functions.is_trusted(kind) == (kind == "llama_sampler")


@pytest.mark.parametrize(("threads", "count"), [(1, 150), (2, 30), (4, 20)])
def test_random_calls_are_survived(threads: int, count: int) -> None:
    """Two hundred seeds in all; `nox -s fuzz` goes on from there."""
    report = parent.run(parent.Plan(count=count, calls=200, threads=threads))
    print(report)
    assert report.is_clean, "\n".join((*report.deaths, *report.hangs, *report.surprises))
    assert report.seeds == count
    assert sum(one["returned"] for one in report.counts.values()) > report.calls / 3
