"""Without NVIDIA's driver llamacffi-cuda13 is left for the package's own engine, and what is missing is said.

Needs llamacffi-cuda13, installed beside llamacffi, on a machine without that driver: `nox -s engine -- cuda13`. What it
computes on a device is not tested.
"""

from __future__ import annotations

import os
import sys

import pytest

from support.processes import output_of, run_python

pytestmark = pytest.mark.engine

INFO = "import llamacffi; info = llamacffi.build_info(); print(info.engine, info.not_taken['cuda13'], sep=': ')"


def test_the_own_engine_is_taken_where_no_driver_is() -> None:
    assert output_of(sys.executable, "-c", INFO) == "cpu: no driver of a cuda13 device was found\n"


def test_it_is_an_error_to_name_it_there() -> None:
    ended = run_python(INFO, env={**os.environ, "LLAMACFFI_ENGINE": "cuda13"})
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "ImportError: LLAMACFFI_ENGINE names cuda13, which was not taken: no driver of a cuda13 device was found"
    )
