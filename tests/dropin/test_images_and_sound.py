"""Images and sound through llama-cpp-python's own Python files: what they give is what they give over ctypes.

media.py runs through `llamacffi run`, and beside it over ctypes, on the same engine and CPU; model, projectors and
files are made here. The facts are the same to the last bit.
"""

from __future__ import annotations

import ast
import ctypes
import hashlib
from pathlib import Path
from typing import Any

import pytest
from engines import HERE, package, run_ours, run_theirs

from llamacffi import mtmd_cpp
from support import pictures, tiny_model, tiny_projector
from support.media import media_of
from support.processes import Ended

MEDIA = HERE / "media.py"
TEMPLATE = "{% for message in messages %}{% for part in message.content %}{{ part.text }}{% endfor %}{% endfor %}"
WHOLE = ("mlp", "gemma3", "ultravox")
HANDLERS = (
    *("Llava15ChatHandler", "Llava16ChatHandler", "NanoLlavaChatHandler", "ObsidianChatHandler"),
    *("MoondreamChatHandler", "Llama3VisionAlphaChatHandler", "MiniCPMv26ChatHandler", "Qwen25VLChatHandler"),
    "Gemma4ChatHandler",
)
NAMES = (*WHOLE, *HANDLERS)
PIXELS = pictures.pixels()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    tiny_model.write(folder / "tiny.gguf", template=TEMPLATE)
    for kind in WHOLE:
        tiny_projector.write(folder / f"{kind}.gguf", kind)
    (folder / "image.png").write_bytes(pictures.png(PIXELS))
    (folder / "image.bmp").write_bytes(pictures.bmp(PIXELS))
    (folder / "image.jpeg").write_bytes(pictures.of_upstream("test-1.jpeg"))
    (folder / "sound.wav").write_bytes(pictures.wav())
    return folder


@pytest.fixture(scope="module")
def runs(files: Path, peer: Path) -> list[Ended]:
    return [run_ours(MEDIA, files), run_theirs(peer, MEDIA, files)]


def test_every_scenario_runs_to_its_end(runs: list[Ended], ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert [ended.returncode for ended in runs] == [0, 0], "\n".join(ended.stderr for ended in runs)
    assert tuple(ours) == tuple(theirs) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_what_it_gives_over_ctypes(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours[name] == theirs[name]


@pytest.mark.parametrize("kind", ["mlp", "gemma3"])
def test_an_image_becomes_as_many_tokens_as_the_projector_has_patches(kind: str, ours: dict[str, Any]) -> None:
    chunks = ours[kind][5]
    images = [numbers for kind_of_chunk, _, numbers, _ in chunks if kind_of_chunk == 1]
    assert images == [[tiny_projector.KINDS[kind].tokens] * 2]


def test_the_pixels_are_those_that_were_written(ours: dict[str, Any]) -> None:
    height, width, _ = PIXELS.shape
    expected = [[width, height], False, hashlib.sha256(PIXELS.tobytes()).hexdigest()]
    for name in ("image.png", "image.bmp"):
        shape, is_audio, _, digest = ours["mlp"][ours["mlp"].index(name) + 1]
        assert [shape, is_audio, digest] == expected


# ---------------------------------------------------------------- names


def module() -> list[ast.stmt]:
    return ast.parse((package() / "llama_cpp" / "mtmd_cpp.py").read_text()).body


def names() -> set[str]:
    """Name what llama-cpp-python's module defines."""
    assigned = {target.id for node in module() if isinstance(node, ast.Assign) for target in node.targets}  # type: ignore[attr-defined]
    defined = {node.name for node in module() if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return {name for name in assigned | defined if name.lower().startswith("mtmd_")}


def test_the_module_has_every_name_of_llama_cpp_python_s() -> None:
    assert len(names()) > 120
    assert {name for name in names() if not hasattr(mtmd_cpp, name)} == set()
    assert names() - set(dir(mtmd_cpp)) == set()


@pytest.mark.parametrize("name", sorted(node.name for node in module() if isinstance(node, ast.ClassDef)))
def test_the_structs_have_the_same_fields(name: str) -> None:
    (node,) = (node for node in module() if isinstance(node, ast.ClassDef) and node.name == name)
    (pairs,) = (one.value.elts for one in node.body if isinstance(one, ast.Assign))  # type: ignore[attr-defined]
    ours = getattr(mtmd_cpp, name)
    assert issubclass(ours, ctypes.Structure)
    assert [field for field, *_ in ours._fields_] == [ast.literal_eval(pair.elts[0]) for pair in pairs]


def test_the_name_that_is_deprecated_there_warns_here(tiny: Any) -> None:
    with pytest.warns(DeprecationWarning, match="use mtmd_get_audio_sample_rate instead"):
        assert mtmd_cpp.mtmd_get_audio_bitrate(media_of(tiny, "ultravox")) == 16000
