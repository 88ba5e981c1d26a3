"""`llamacffi quantize` writes what the `gguf` package reads as that type, and leaves no file where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf import GGMLQuantizationType, GGUFReader

from support import tiny_model
from support.commands import Call

SHAPE = tiny_model.Shape(width=256)  # a block of Q4_K


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("quantize") / "source.gguf", SHAPE)


def types(path: Path) -> set[GGMLQuantizationType]:
    return {tensor.tensor_type for tensor in GGUFReader(path).tensors if len(tensor.shape) == 2}


@pytest.mark.parametrize("name", ["Q8_0", "q8_0"])
def test_the_tensors_have_the_type_that_was_asked_for(name: str, call: Call, source: Path, tmp_path: Path) -> None:
    said = call("quantize", source, tmp_path / "out.gguf", name)
    assert said.status == 0
    assert types(tmp_path / "out.gguf") == {GGMLQuantizationType.Q8_0}


def test_it_tells_the_sizes_before_and_after(call: Call, source: Path, tmp_path: Path) -> None:
    said = call("quantize", source, tmp_path / "out.gguf", "Q8_0")
    for word, path in {"before": source, "after": tmp_path / "out.gguf"}.items():
        tensors = GGUFReader(path).tensors
        size = sum(int(tensor.n_bytes) for tensor in tensors)
        bits = 8 * size / sum(int(tensor.n_elements) for tensor in tensors)
        assert f"{size / 2**20:.2f} MiB" in line_of(said.out, word) or f"{size / 2**10:.2f} KiB" in line_of(
            said.out, word
        )
        assert line_of(said.out, word).endswith(f"{bits:.2f}")


def line_of(out: str, word: str) -> str:
    return next(line for line in out.splitlines() if line.split()[:1] == [word])


def test_pure_makes_no_mixture_and_the_output_tensor_may_be_left(call: Call, source: Path, tmp_path: Path) -> None:
    call("quantize", source, tmp_path / "mixed.gguf", "Q4_K_M")
    call("quantize", source, tmp_path / "pure.gguf", "Q4_K_M", "--pure")
    call("quantize", source, tmp_path / "left.gguf", "Q4_K_M", "--leave-output-tensor")
    assert types(tmp_path / "mixed.gguf") > types(tmp_path / "pure.gguf") == {GGMLQuantizationType.Q4_K}
    assert GGMLQuantizationType.F32 in types(tmp_path / "left.gguf")


def test_a_file_is_replaced_only_if_that_is_asked_for(call: Call, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    out.write_text("mine")
    said = call("quantize", source, out, "Q8_0")
    assert (said.status, said.out, out.read_text()) == (1, "", "mine")
    assert f"{out} is there already" in said.err
    assert "--force" in said.err
    assert call("quantize", source, out, "Q8_0", "--force").status == 0
    assert types(out) == {GGMLQuantizationType.Q8_0}


def test_the_file_that_is_read_is_never_replaced(call: Call, source: Path) -> None:
    before = source.read_bytes()
    said = call("quantize", source, source, "Q8_0", "--force")
    assert said.status == 1
    assert "is the file that is read" in said.err
    assert source.read_bytes() == before


def test_what_is_quantized_already_is_refused_with_the_option_that_takes_it(
    call: Call, source: Path, tmp_path: Path
) -> None:
    """And nothing is left beside the name that was given."""
    call("quantize", source, tmp_path / "q8.gguf", "Q8_0")
    said = call("quantize", tmp_path / "q8.gguf", tmp_path / "q4.gguf", "Q4_0")
    assert (said.status, said.out) == (1, "")
    assert "--allow-requantize" in said.err
    assert said.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["q8.gguf"]
    assert call("quantize", tmp_path / "q8.gguf", tmp_path / "q4.gguf", "Q4_0", "--allow-requantize").status == 0


@pytest.mark.parametrize(("name", "near"), [("Q8_O", "Q8_0"), ("Q4_K_X", "Q4_K_M"), ("nonsense", "Q6_K")])
def test_a_type_that_there_is_not_is_answered_with_those_that_are(
    name: str, near: str, call: Call, source: Path, tmp_path: Path
) -> None:
    said = call("quantize", source, tmp_path / "out.gguf", name)
    assert (said.status, said.out) == (1, "")
    assert f"there is no type {name}" in said.err
    assert near in said.err


def test_a_folder_that_is_not_there_is_one_sentence(call: Call, source: Path, tmp_path: Path) -> None:
    said = call("quantize", source, tmp_path / "none" / "out.gguf", "Q8_0")
    assert (said.status, said.out) == (1, "")
    assert said.err.count("\n") == 1
