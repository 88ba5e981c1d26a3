"""What a release says of itself is what is pinned."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from typing import Any

import pytest

from support.checkout import ROOT, load_fetch
from support.processes import output_of


@pytest.fixture
def pin() -> dict[str, str]:
    return dict(load_fetch().pin())


@pytest.mark.parametrize("file", ["README.md", "CHANGELOG.md"])
def test_the_texts_name_the_pinned_llama_cpp(file: str, pin: dict[str, str]) -> None:
    """Of the changelog it is the newest section that counts."""
    text = (ROOT / file).read_text(encoding="utf-8")
    newest = text.split("\n## ")[1] if file == "CHANGELOG.md" else text
    assert pin["commit"] in newest
    assert f"{pin['package']} {pin['version']}" in newest


@pytest.fixture
def materials() -> Any:
    return json.loads(output_of(sys.executable, ROOT / ".ci" / "sbom.py"))


def test_the_bill_of_materials_names_what_is_linked_and_what_is_asked_for(materials: Any, pin: dict[str, str]) -> None:
    engine, asked, *_ = materials["components"]
    assert engine["purl"] == f"pkg:github/ggml-org/llama.cpp@{pin['commit']}"
    assert pin["sha256"] in engine["properties"][0]["value"]
    assert asked["name"] == "cffi"


def test_the_bill_of_materials_names_what_llama_cpp_brings_of_others(materials: Any, pin: dict[str, str]) -> None:
    """With the version that C's own macros say, and none where nothing says one."""
    source = load_fetch().pinned_dir(pin)
    vendored = {part["name"]: part for part in materials["components"][2:]}
    assert vendored.keys() == {"stb_image", "miniaudio", "subprocess.h", "sha256", "rotate-bits"}
    defined = (source / "vendor" / "miniaudio" / "miniaudio.h").read_text(encoding="utf-8")
    numbers = [re.search(rf"#define MA_VERSION_{part} +(\d+)", defined)[1] for part in ("MAJOR", "MINOR", "REVISION")]
    assert vendored["miniaudio"]["version"] == ".".join(numbers)
    assert "version" not in vendored["subprocess.h"]
    assert all(part["licenses"] for part in vendored.values())


def test_the_bill_of_materials_is_that_of_this_version(materials: Any) -> None:
    assert materials["metadata"]["component"]["version"] == importlib.metadata.version("llamacffi")
