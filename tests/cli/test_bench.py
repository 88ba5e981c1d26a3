"""`llamacffi bench` shows llama-bench's table, of runs that `--json` has one by one."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

import llamacffi
from llamacffi import llama_cpp as llama
from support.commands import Call


@pytest.fixture
def bench(call: Call, tiny_path: Path) -> Call:
    return lambda *arguments: call("bench", "-m", tiny_path, "-p", 16, "-n", 4, "-t", 1, *arguments)


def test_json_has_each_run_and_their_mean_and_spread(bench: Call) -> None:
    said = bench("-r", 3, "--json")
    assert (said.status, said.err) == (0, "")
    tests = json.loads(said.out)
    assert [found["test"] for found in tests] == ["pp16", "tg4"]
    for found, number in zip(tests, (16, 4), strict=True):
        speeds = [number / seconds for seconds in found["seconds"]]
        assert len(speeds) == 3
        assert found["mean"] == pytest.approx(sum(speeds) / 3)
        assert found["stdev"] == pytest.approx(statistics.stdev(speeds))


def test_json_says_what_was_measured(bench: Call, tiny: Any) -> None:
    found, _ = json.loads(bench("-r", 1, "--json").out)
    assert (found["size"], found["params"]) == (llama.llama_model_size(tiny), llama.llama_model_n_params(tiny))
    assert (found["backend"], found["threads"], found["stdev"]) == ("CPU", 1, 0)


def test_the_table_is_markdown_of_llama_bench_s_columns(bench: Call) -> None:
    said = bench("-r", 2)
    head, rule, *rows, blank, build = said.out.splitlines()
    columns = [cell.strip() for cell in head.strip("|").split("|")]
    assert columns == ["model", "size", "params", "backend", "threads", "test", "t/s"]
    assert {len(line) for line in (head, rule, *rows)} == {len(head)}
    assert [row.split("|")[6].strip() for row in rows] == ["pp16", "tg4"]
    assert all(" ± " in row.split("|")[7] for row in rows)
    assert (blank, build) == ("", f"build: {llamacffi.build_info().llama_cpp} (llamacffi {llamacffi.__version__})")


def test_either_may_be_left_out_but_not_both(bench: Call) -> None:
    assert [found["test"] for found in json.loads(bench("-p", 0, "-r", 1, "--json").out)] == ["tg4"]
    said = bench("-p", 0, "-n", 0)
    assert (said.status, said.out) == (1, "")
    assert "nothing is to be measured" in said.err
