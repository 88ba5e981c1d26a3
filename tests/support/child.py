"""The child process of support/cells.py: it does the jobs that it finds in a folder, one after the other.

Each job's outcome is one line, written before the next one begins. A job that hangs is ended by SIGALRM, with a
traceback of all threads; one that goes on for longer sets the alarm again.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import inspect
import json
import logging
import pickle
import resource
import signal
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llamacffi
from llamacffi import llama_cpp as llama
from support import media, objects

PROVIDED = ("model", "ctx", "vocab", "folder")
SECONDS = 60  # for one job
# A CPython without the GIL reserves addresses by the GiB.
ADDRESS_SPACE = (12 if sysconfig.get_config_var("Py_GIL_DISABLED") else 6) * 2**30


@dataclass(frozen=True)
class Job:
    """A function of a file of tests, and what it is called with beside what is provided."""

    name: str
    file: Path
    function: str
    given: dict[str, Any]
    alone: bool


def told(value: object) -> str:
    return f"returned {value!r}"


def outcome(function: Callable[..., object], /, *given: object, **named: object) -> str:
    """Tell in one string what a call returned or raised."""
    try:
        return told(function(*given, **named))
    except AssertionError:
        return traceback.format_exc()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def do(job: Job) -> str:
    """Call the function with objects of its own, then free them and see that all goes on as before."""
    signal.alarm(SECONDS)
    function = _function(job)
    provided = _provide()
    named = {name: provided[name] for name in inspect.signature(function).parameters if name in PROVIDED}
    found = outcome(function, **named, **job.given)
    if job.alone:
        return found
    after = _clean_up(provided)
    return found if after == told(0) else f"decoding afterwards {after}: {found}"


def _function(job: Job) -> Callable[..., object]:
    """Import the function that the decorator has wrapped."""
    if str(job.file.parent) not in sys.path:
        sys.path.insert(0, str(job.file.parent))
    function: Callable[..., object] = getattr(importlib.import_module(job.file.stem), job.function).__wrapped__
    return function


def _provide() -> dict[str, Any]:
    model = objects.load()
    ctx, vocab = objects.context_of(model), llama.llama_model_get_vocab(model)
    return {"model": model, "ctx": ctx, "vocab": vocab, "folder": Path(tempfile.mkdtemp())}


def _clean_up(provided: dict[str, Any]) -> str:
    be_quiet()
    media.free_all()
    for free, name in ((llama.llama_free, "ctx"), (llama.llama_model_free, "model")):
        with contextlib.suppress(llamacffi.LlamaError):
            free(provided[name])
    return outcome(objects.load_decode_and_free)


def be_quiet() -> None:
    """Give llama.cpp's log to a logger that says nothing."""
    logging.getLogger("quiet").setLevel(logging.CRITICAL + 1)
    llamacffi.log_to("quiet")


def main() -> None:
    """Do the jobs in the folder; temporary files go there too, so that those of a dead process are removed."""
    folder = Path(sys.argv[1])
    faulthandler.enable()
    faulthandler.register(signal.SIGALRM, chain=True)
    tempfile.tempdir = str(folder)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    be_quiet()
    jobs: list[Job] = pickle.loads((folder / "jobs").read_bytes())
    with (folder / "outcomes").open("w") as outcomes:
        for job in jobs:
            outcomes.write(json.dumps([job.name, do(job)]) + "\n")
            outcomes.flush()
