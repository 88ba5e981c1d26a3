"""Instructions of the hot calls inside of the extension, which callgrind counts alike on an idle and on a busy machine.

The limits are what was counted with GCC 12, and a sixth more. They hold the border's work; what C does beneath is in
them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import instructions
from support import tiny_model

pytestmark = pytest.mark.wheel

MOST = {
    "llama_n_ctx": 50,
    "llama_vocab_is_eog": 97,
    "llama_token_to_piece": 470,
    "llama_batch_get_one": 185,
    "llama_get_logits_ith": 635,
    "llama_get_memory": 80,
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, instructions.Count]:
    folder: Path = tmp_path_factory.mktemp("instructions")
    return instructions.count(tiny_model.write(folder / "two_layers.gguf", tiny_model.Shape(layers=2)))


@pytest.mark.parametrize("function", MOST)
def test_a_call_takes_no_more_instructions(function: str, counted: dict[str, instructions.Count]) -> None:
    assert 0 < counted[function].of_extension <= MOST[function]


def test_what_was_counted_is_all_that_has_a_limit(counted: dict[str, instructions.Count]) -> None:
    assert counted.keys() == MOST.keys()
    assert all(count.of_extension < count.of_all for count in counted.values())
