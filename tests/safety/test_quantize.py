"""Assertions that a file's numbers make fail while it is quantized, on whichever thread they fall to."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import pytest

from llamacffi import LlamaAssertionError
from llamacffi import llama_cpp as llama
from support import tiny_model
from support.cells import refused, returns
from support.compute_threads import Workers

SHAPE = tiny_model.Shape(width=256)  # a block of iq3_s
threads = pytest.mark.parametrize("n_threads", [1, 2, 4])


def quantize(folder: Path, n_threads: int) -> int:
    """Quantize the tiny model with an importance matrix that cannot be: all of it is negative."""
    model = tiny_model.write(folder / "model.gguf", SHAPE)
    params = llama.llama_model_quantize_default_params()
    params.nthread, params.ftype = n_threads, llama.LLAMA_FTYPE_MOSTLY_IQ3_S
    matrix = negative_importance()
    params.imatrix = ctypes.cast(matrix, type(params.imatrix))
    out = os.fsencode(folder / "out.gguf")
    return int(llama.llama_model_quantize(os.fsencode(model), out, ctypes.byref(params)))


def negative_importance() -> Any:
    sizes = {name: size[1] for name, size in tiny_model.tensors(SHAPE).items() if len(size) == 2}
    matrix = (llama.llama_model_imatrix_data * (len(sizes) + 1))()
    for entry, (name, width) in zip(matrix, sizes.items(), strict=False):
        entry.name, entry.data, entry.size = name.encode(), (ctypes.c_float * width)(*[-1.0] * width), width
    return matrix


@threads
@refused(LlamaAssertionError, r"llama_model_quantize\(\): ggml/src/ggml-quants.c:\d+: GGML_ASSERT\(grid_index >= 0")
def test_an_assertion_on_any_thread_is_an_exception_of_the_call(n_threads: int, folder: Path) -> None:
    quantize(folder, n_threads)


@threads
@returns((10, 0))
def test_its_threads_have_ended_then(n_threads: int, folder: Path) -> object:
    workers, failures = Workers(), 0
    for _ in range(10):
        with pytest.raises(LlamaAssertionError):
            quantize(folder, n_threads)
        failures += 1
    return failures, workers.count_left(0)
