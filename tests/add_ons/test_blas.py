"""An extension with ggml's BLAS backend computes prompts by OpenBLAS, and gives what the CPU backend gives.

Needs Debian's libopenblas-dev and pkg-config. `nox -s blas` builds the extension into build/blas/package, beside the
installed one, and runs this.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import tiny_model
from support.checkout import ROOT, TESTS
from support.processes import output_of

pytestmark = pytest.mark.engine

BUILT = ROOT / "build" / "blas" / "package"
INFO = """
import json, llamacffi
print(json.dumps([llamacffi.build_info().backends, [(one.name, one.type) for one in llamacffi.devices()]]))
"""
# A prompt of 64 tokens, which is long enough for BLAS, and what the greedy sampler goes on with.
GENERATE = """
import json, sys
from pathlib import Path
from llamacffi import llama_cpp as llama
from support.objects import context_of, decode, load, logits_of
ctx = context_of(load(Path(sys.argv[1])), n_ctx=512)
assert decode(ctx, [3 + n % 200 for n in range(64)]) == 0
logits, tokens = logits_of(ctx).tolist(), []
for _ in range(12):
    tokens.append(int(logits_of(ctx).argmax()))
    assert decode(ctx, tokens[-1:]) == 0
print(json.dumps([logits, tokens]))
"""


def told(code: str, *arguments: str | Path, blas: bool) -> Any:
    path = os.pathsep.join([*([str(BUILT)] if blas else []), str(TESTS)])
    return json.loads(output_of(sys.executable, "-c", code, *arguments, env={**os.environ, "PYTHONPATH": path}))


def test_it_is_a_device_of_its_own() -> None:
    backends, devices = told(INFO, blas=True)
    assert "blas" in backends
    assert ["BLAS", "accel"] in devices
    assert "blas" not in told(INFO, blas=False)[0]


@pytest.mark.parametrize("width", [64, 256])
def test_it_computes_what_the_cpu_computes(width: int, tmp_path: Path) -> None:
    """To rounding: it adds in another order."""
    model = tiny_model.write(tmp_path / "model.gguf", tiny_model.Shape(width=width, layers=2))
    logits, tokens = told(GENERATE, model, blas=True)
    expected, expected_tokens = told(GENERATE, model, blas=False)
    assert tokens == expected_tokens
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3 * (max(expected) - min(expected)))
    assert logits != expected  # or it was not BLAS that computed
