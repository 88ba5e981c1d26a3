"""Each strategy for machines with several memories computes the same; where there is one it changes nothing."""

from __future__ import annotations

import pytest

from llamacffi import llama_cpp as llama
from support.cells import alone, returns
from support.objects import context_of, decode, load, logits_of

STRATEGIES = ["DISABLED", "DISTRIBUTE", "ISOLATE", "NUMACTL", "MIRROR"]


@alone
@pytest.mark.parametrize("name", STRATEGIES)
@returns(True)
def test_a_strategy_computes_what_none_does(name: str) -> bool:
    before = computed()
    llama.llama_numa_init(getattr(llama, f"GGML_NUMA_STRATEGY_{name}"))
    return computed() == before


def computed() -> bytes:
    ctx = context_of(load(), n_threads=2)
    decode(ctx)
    return logits_of(ctx).tobytes()
