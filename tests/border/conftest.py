"""What the tests of the border share: the tiny model, contexts of it, and child processes that may die."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_model
from children import Ended, run_python

from llamacffi import llama_cpp

# What each child begins with: the names that the code of the tests uses.
PRELUDE = f"""
import ctypes, gc, logging, os, signal, sys, threading, traceback, weakref
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
import llamacffi
import tiny_model
from llamacffi import ffi, lib, llama_cpp

TINY = sys.argv[1].encode()
logging.getLogger("quiet").setLevel(logging.CRITICAL)
llamacffi.log_to("quiet")

def load(path=TINY, **fields):
    params = llama_cpp.llama_model_default_params()
    for name, value in fields.items():
        setattr(params, name, value)
    return llama_cpp.llama_model_load_from_file(path, params)

def context_of(model, **fields):
    params = llama_cpp.llama_context_default_params()
    for name, value in {{"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, **fields}}.items():
        setattr(params, name, value)
    return llama_cpp.llama_init_from_model(model, params)

def decode(ctx, tokens):
    array = np.array(tokens, dtype=np.int32)
    return llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(array, len(array)))

def best(ctx):
    logits = llama_cpp.llama_get_logits_ith(ctx, -1)
    return int(np.ctypeslib.as_array(logits, (tiny_model.N_VOCAB,)).argmax())
"""

Child = Callable[..., Ended]


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file of a random llama model."""
    return tiny_model.write(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> Iterator[Any]:
    """The tiny model, loaded; nobody may free it."""
    loaded = llama_cpp.llama_model_load_from_file(os.fsencode(tiny_path), llama_cpp.llama_model_default_params())
    assert loaded
    yield loaded
    llama_cpp.llama_model_free(loaded)


@pytest.fixture(scope="session")
def vocab(tiny: Any) -> Any:
    """The tiny model's vocabulary."""
    return llama_cpp.llama_model_get_vocab(tiny)


@pytest.fixture
def context(tiny: Any) -> Iterator[Any]:
    """A fresh context of the tiny model."""
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 256, 1, 1
    made = llama_cpp.llama_init_from_model(tiny, params)
    assert made
    yield made
    llama_cpp.llama_free(made)


@pytest.fixture(scope="session")
def child(tiny_path: Path) -> Child:
    """Run code after the prelude in a process of its own, to its end, whatever that is."""

    def run(code: str, *arguments: str | Path, **options: Any) -> Ended:
        return run_python(PRELUDE + code, tiny_path, *arguments, **options)

    return run


@pytest.fixture(scope="session")
def output_of(child: Child) -> Callable[..., str]:
    """Run code in a child that must end well, and return what it printed."""

    def run(code: str, *arguments: str | Path, **options: Any) -> str:
        ended = child(code, *arguments, **options)
        assert ended.returncode == 0, f"ended with {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    return run
