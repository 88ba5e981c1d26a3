"""llama-cpp-python's high-level package on this engine, on a real model: what it gives is what it gives over ctypes.

scenarios.py runs through `llamacffi run`, and beside it over ctypes, on the same engine and CPU. The facts are the
same to the last bit: nothing was recorded elsewhere.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from engines import SCENARIOS, run_ours, run_theirs

from support.processes import Ended

NAMES = re.findall(r"^@scenario\ndef (\w+)", SCENARIOS.read_text(), re.M)
COMPARED = [name for name in NAMES if name != "reopening"]  # how memory grows is asked of ours alone


@pytest.fixture(scope="module")
def runs(model_path: Path, peer: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Ended]:
    """Ours and theirs, at the same time: each computes on one thread."""
    folders = [tmp_path_factory.mktemp(name) for name in ("ours", "theirs")]
    with ThreadPoolExecutor() as pool:
        ours = pool.submit(run_ours, SCENARIOS, model_path, folders[0])
        theirs = pool.submit(run_theirs, peer, SCENARIOS, model_path, folders[1], *COMPARED)
    return [ours.result(), theirs.result()]


def test_every_scenario_runs_to_its_end(runs: list[Ended], ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert [ended.returncode for ended in runs] == [0, 0], "\n".join(ended.stderr for ended in runs)
    assert list(ours) == NAMES
    assert list(theirs) == COMPARED


@pytest.mark.parametrize("name", COMPARED)
def test_it_gives_what_it_gives_over_ctypes(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours[name] == theirs[name]


WHICH = """
import sys
from llama_cpp import llama_cpp
print("llamacffi" in sys.modules, llama_cpp._lib)
"""


def test_the_other_side_is_the_package_s_own_module_over_ctypes(peer: Path, tmp_path: Path) -> None:
    """Else ours would be compared with itself."""
    program = tmp_path / "which.py"
    program.write_text(WHICH)
    assert run_theirs(peer, program).stdout.startswith(f"False <CDLL '{peer / 'libllama.so'}'")
    assert run_ours(program).stdout.startswith("True ")


# What must be so whatever the other engine says.


def test_a_state_restores_what_was_saved_to_the_last_bit(ours: dict[str, Any]) -> None:
    assert ours["state"]["again"] == ours["state"]["first"]


def test_a_seed_gives_its_text_again_and_another_seed_another(ours: dict[str, Any]) -> None:
    assert ours["seeds"]["again"] is True
    assert ours["seeds"]["another"] is True


def test_opening_and_closing_again_and_again_keeps_no_memory(ours: dict[str, Any]) -> None:
    """Not 1.5 MB each time: a model has a hundred, its vocabulary and a small context some."""
    assert ours["reopening"] < 30e6


@pytest.mark.parametrize("name", ["cache_in_memory", "cache_on_disk"])
def test_a_cache_restores_what_a_kept_context_has_to_the_last_bit(name: str, ours: dict[str, Any]) -> None:
    """Of a prompt that is there, the last token alone is evaluated, be it there by the cache or still."""
    first, kept = ours["kept_context"]
    first_with_cache, other, restored = ours[name]
    assert first_with_cache == first
    assert restored == kept
    sizes = [answer["evaluated"][0] for answer in (first, other, restored)]
    assert sizes == [first["answer"]["usage"]["prompt_tokens"], other["answer"]["usage"]["prompt_tokens"], 1]


def test_a_lora_adapter_changes_the_numbers(ours: dict[str, Any]) -> None:
    assert ours["lora"]["with"]["shape"] == ours["lora"]["without"]["shape"]
    assert ours["lora"]["with"]["hash"] != ours["lora"]["without"]["hash"]


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
