"""`llamacffi inspect` tells what the `gguf` package reads out of the same file, and the memory that a context takes."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import gguf
import pytest
from gguf import GGUFReader

import llamacffi
from llamacffi import llama_cpp
from support import gguf_files, tiny_model
from support.commands import Call
from support.objects import context_of, load

SHAPE = tiny_model.Shape(layers=3, width=64, heads=4)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("inspect") / "three layers.gguf", SHAPE, template="{{ odd }}")


def told(call: Call, path: Path, *options: object) -> Any:
    said = call("inspect", path, "--json", *options)
    assert (said.status, said.err) == (0, "")
    return json.loads(said.out)


# ---------------------------------------------------------------- what the file has


def test_the_metadata_is_that_of_the_file(call: Call, path: Path) -> None:
    fields = GGUFReader(path).fields
    expected = {name: field.contents() for name, field in fields.items() if not name.startswith("GGUF.")}
    assert told(call, path)["metadata"] == expected


def test_the_tensors_are_those_of_the_file(call: Call, path: Path) -> None:
    expected = [
        {
            "name": tensor.name,
            "type": tensor.tensor_type.name.lower(),
            "shape": tensor.shape.tolist(),
            "size": int(tensor.n_bytes),
        }
        for tensor in GGUFReader(path).tensors
    ]
    assert told(call, path)["tensors"] == expected


def test_sums_are_those_of_the_tensors(call: Call, path: Path) -> None:
    found, tensors = told(call, path), GGUFReader(path).tensors
    assert found["parameters"] == sum(int(tensor.n_elements) for tensor in tensors)
    assert found["types"] == {
        "f32": {
            "tensors": len(tensors),
            "parameters": found["parameters"],
            "size": sum(int(tensor.n_bytes) for tensor in tensors),
        }
    }


def test_the_summary_names_the_model(call: Call, path: Path) -> None:
    found = told(call, path)
    assert [found[name] for name in ("name", "architecture", "context", "embedding", "layers", "vocabulary")] == [
        "tiny", "llama", SHAPE.context, SHAPE.width, SHAPE.layers, tiny_model.N_VOCAB,
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "expected"), [("template", "known"), ("model", None)])
def test_it_tells_whether_chat_can_use_the_template(kind: str, expected: str | None, call: Call) -> None:
    assert told(call, gguf_files.shared(kind))["chat_template"] == expected


def test_a_template_that_llama_cpp_does_not_know_is_said_to_be_unknown(call: Call, path: Path) -> None:
    assert told(call, path)["chat_template"] == "unknown"


def test_a_vocabulary_has_no_tensors_and_needs_no_memory(call: Call) -> None:
    found = told(call, gguf_files.shared("vocabulary"))
    assert found["vocabulary"] == tiny_model.N_VOCAB
    assert (found["tensors"], found["memory"]) == ([], None)


def test_an_adapter_is_no_model_and_is_shown_all_the_same(call: Call) -> None:
    found = told(call, gguf_files.shared("adapter"))
    assert (found["metadata"]["adapter.type"], found["memory"]) == ("lora", None)


def test_metadata_of_other_types_than_usual_is_shown_all_the_same(call: Call, tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "odd.gguf", "llama")
    writer.add_string("general.file_type", "large")
    writer.add_string("llama.context_length", "long")
    writer.add_string("split.count", "three")
    writer.add_uint32("tokenizer.ggml.tokens", 5)
    writer.add_uint32("tokenizer.chat_template", 5)
    tiny_model.finish(writer)
    found = told(call, tmp_path / "odd.gguf")
    assert found["metadata"]["split.count"] == "three"
    assert {found[name] for name in ("quantization", "context", "part", "vocabulary", "chat_template")} == {None}
    assert call("inspect", tmp_path / "odd.gguf").status == 0


def test_a_quantization_that_llama_cpp_does_not_know_is_said_to_be_unknown(call: Call, tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "new.gguf", "llama")
    writer.add_file_type(999)
    tiny_model.finish(writer)
    assert "unknown" in told(call, tmp_path / "new.gguf")["quantization"]


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("size", [256, 1024])
def test_the_cache_is_keys_and_values_of_each_layer_in_half_floats(size: int, call: Call, path: Path) -> None:
    expected = 2 * 2 * SHAPE.layers * SHAPE.width * size
    assert told(call, path, "--ctx-size", size)["memory"]["cache"] == pytest.approx(expected, abs=0.005 * 2**20)


def test_the_memory_is_what_a_real_context_takes(call: Call, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In MiB, as llama.cpp logs the buffers that it allocates."""
    with caplog.at_level(logging.INFO, "real"):
        llamacffi.log_to("real")
        model = load(path)
        ctx = context_of(model, n_ctx=1024)
    logged = {name: float(mib) for name, mib in re.findall(r"(\w+) buffer size = +([\d.]+) MiB", caplog.text)}
    llama_cpp.llama_free(ctx)
    llama_cpp.llama_model_free(model)
    found = told(call, path, "-c", 1024)["memory"]
    for name, buffer in {"cache": "KV", "compute": "compute", "output": "output"}.items():
        assert logged[buffer] > 0 or name == "output"
        assert found[name] / 2**20 == pytest.approx(logged[buffer], abs=0.005)


def test_zero_is_the_context_that_the_model_was_trained_for(call: Call, path: Path) -> None:
    assert told(call, path, "-c", 0)["memory"]["context"] == SHAPE.context


# ---------------------------------------------------------------- tables and mistakes


def test_the_tables_show_each_part(call: Call, path: Path) -> None:
    said = call("inspect", path, "--tensors")
    titles = re.findall(r"^(\w.*)$", said.out, re.M)
    assert titles == ["Model", "Sizes by type", "Memory for 4,096 tokens of context", "Metadata", "Tensors"]
    assert f"tokenizer.ggml.tokens                   [{tiny_model.N_VOCAB}] <unk>, <s>, </s>, " in said.out
    assert re.search(r"^  blk\.2\.ffn_down\.weight +f32 +128 × 64 +32\.00 KiB$", said.out, re.M)


def test_without_being_asked_for_the_tensors_are_left_out(call: Call, path: Path) -> None:
    assert "blk.2" not in call("inspect", path).out


def broken(path: Path, folder: Path) -> dict[str, Path]:
    whole = path.read_bytes()
    contents = {"text": b"This is no model.", "cut": whole[:-100], "cut head": whole[:100], "empty": b""}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in (*contents, "missing")}


@pytest.mark.parametrize("kind", ["text", "cut", "cut head", "empty", "missing"])
def test_a_broken_file_is_one_sentence_that_names_it(kind: str, call: Call, path: Path, tmp_path: Path) -> None:
    file = broken(path, tmp_path)[kind]
    said = call("inspect", file)
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith(f"llamacffi: {file}")
    assert said.err.count("\n") == 1
