"""Packages from the index that call llama-cpp-python, installed unchanged beside what `llamacffi adopt` makes of it.

Each gets an environment of its own, into which pip brings it, and gives there what it gives over ctypes. Some minutes
each, most of them pip's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engines import HERE, environment, fresh_python, package

from support.processes import output_of

pytestmark = pytest.mark.long

# What pip is asked for, by the program in users/.
PACKAGES = {
    "guidance": ["guidance"],
    "haystack": ["llama-cpp-haystack"],
    "langchain": ["langchain-community"],
    "langextract": ["langextract", "langextract-llamacpp"],
    "llama_cpp_agent": ["llama-cpp-agent"],
    "llama_index": ["llama-index-llms-llama-cpp"],
    "llm": ["llm", "llm-gguf"],
    "lm_format_enforcer": ["lm-format-enforcer"],
    "nnzip": ["nnzip"],
    "outlines": ["outlines", "numba"],  # which it wants for NumPy
}

# What must be so whatever the other engine says.
IS_RIGHT: dict[str, Callable[[Any], object]] = {
    "guidance": lambda told: told["city"].startswith(" Paris") and re.fullmatch(r"\d{3}", told["number"]),
    "haystack": lambda told: len(told["answer"]) > 4,
    "langchain": lambda told: told["city"].startswith(" Paris") and len(told["vector"]) == 576,
    "langextract": lambda told: len(told["answer"]) > 4 and len(told["other"]) > 4,
    "llama_cpp_agent": lambda told: "Paris" in told["answer"],
    "llama_index": lambda told: told["city"].startswith(" Paris") and "".join(told["pieces"]) == told["city"],
    "llm": lambda told: "Paris" in told["answer"],
    "lm_format_enforcer": lambda told: re.fullmatch(r"\d{3}", told["number"]),
    "nnzip": lambda told: told["text"].endswith(" is Berlin.") and len(told["packed"]) / 2 < len(told["text"]) / 2,
    "outlines": lambda told: told["answer"] in ("yes", "no") and re.fullmatch(r"[0-9]{3}", told["number"]),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_it_runs_on_the_adopted_package_as_over_ctypes(name: str, model_path: Path, peer: Path, tmp_path: Path) -> None:
    python = fresh_python(tmp_path / "environment")
    output_of(python, "-m", "llamacffi", "adopt", "--yes")
    installed = output_of(python, "-m", "pip", "install", *PACKAGES[name])
    assert not re.search(r"Successfully installed .*\bllama[-_]cpp[-_]python", installed)
    program = HERE / "users" / f"with_{name}.py"
    ours = told(output_of(python, program, model_path))
    # In front of what was adopted stands the archive's own package.
    over_ctypes = environment(package(), LLAMA_CPP_LIB_PATH=str(peer))
    assert ours == told(output_of(python, program, model_path, env=over_ctypes))
    assert IS_RIGHT[name](ours)


def told(printed: str) -> Any:
    return json.loads(printed.splitlines()[-1])
