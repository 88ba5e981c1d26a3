"""`llamacffi perplexity` counts as llama.cpp's tool does: compared with NumPy, and with that tool (a long test)."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamacffi import llama_cpp as llama
from support import c_programs
from support.checkout import LIBRARIES, ROOT, load_fetch, static_library
from support.commands import Call
from support.objects import context_of
from support.processes import output_of
from support.tiny_model import BEGIN

TEXT = "the cat ate a dog and the dog ate a cat. " * 12
SIZE = 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "text").write_text(f"{TEXT}\n")
    return tmp_path / "text"


@pytest.fixture
def perplexity(call: Call, tiny_path: Path) -> Call:
    return lambda *arguments: call("perplexity", "-m", tiny_path, "-t", 1, "-c", SIZE, *arguments)


def losses(model: Any, chunk: list[int]) -> list[float]:
    """Return minus the logarithm of the probability of each token of a chunk's second half."""
    ctx, begun = context_of(model), [BEGIN, *chunk[1:]]
    batch = llama.llama_batch_init(len(begun), 0, 1)
    batch.n_tokens = len(begun)
    for place, token in enumerate(begun):
        batch.token[place], batch.pos[place], batch.logits[place] = token, place, 1
        batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
    llama.llama_decode(ctx, batch)
    width = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    logits = np.ctypeslib.as_array(llama.llama_get_logits(ctx), (len(begun), width)).astype(np.float64)
    llama.llama_batch_free(batch)
    llama.llama_free(ctx)
    logarithms = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return [-logarithms[place, chunk[place + 1]] for place in range(len(chunk) // 2, len(chunk) - 1)]


def test_it_is_what_numpy_counts(perplexity: Call, tiny: Any, file: Path) -> None:
    tokens = tokens_of(tiny, TEXT.encode())
    chunks = [tokens[start : start + SIZE] for start in range(0, len(tokens) - SIZE + 1, SIZE)]
    found = [loss for chunk in chunks for loss in losses(tiny, chunk)]
    said = perplexity(file, "--json")
    assert said.status == 0
    told = json.loads(said.out)
    assert (told["chunks"], told["tokens"]) == (len(chunks), len(found))
    assert told["perplexity"] == pytest.approx(math.exp(np.mean(found)), rel=1e-4)
    error = np.std(found) / math.sqrt(len(found) - 1) * told["perplexity"]
    assert told["error"] == pytest.approx(error, rel=1e-3)


def tokens_of(model: Any, text: bytes) -> list[int]:
    tokens = (llama.llama_token * len(text))()
    vocab = llama.llama_model_get_vocab(model)
    return list(tokens[: llama.llama_tokenize(vocab, text, len(text), tokens, len(tokens), True, False)])


@pytest.mark.parametrize("size", [1, 7, 40, 64])
def test_the_batches_make_no_difference(size: int, perplexity: Call, file: Path) -> None:
    expected, found = (json.loads(perplexity(file, "--json", "-b", b).out)["perplexity"] for b in (2048, size))
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_table_says_the_same(perplexity: Call, file: Path) -> None:
    told, said = json.loads(perplexity(file, "--json").out), perplexity(file)
    assert said.out == f"perplexity {told['perplexity']:.4f} ± {told['error']:.5f}\n"
    assert said.err == f"{told['chunks']} chunks of {SIZE} tokens; {told['tokens']} tokens counted\n"


def test_fewer_chunks_may_be_asked_for(perplexity: Call, file: Path) -> None:
    assert json.loads(perplexity(file, "--json", "--chunks", 2).out)["chunks"] == 2


def test_a_text_that_is_too_short_is_one_sentence(perplexity: Call, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("a cat")
    said = perplexity(tmp_path / "short")
    assert (said.status, said.out) == (1, "")
    assert "two chunks of 64 are needed" in said.err


# ---------------------------------------------------------------- upstream's tool

# It calls what llama-perplexity's `main` calls. Extra buffer types are of no use here, and one of them needs AMX, which
# some virtual machines name and do not have.
CALLER = """
#include "perplexity.cpp"
#include <sstream>

int main(int, char **given) {
    std::stringstream text;
    text << std::ifstream(given[2]).rdbuf();
    common_params params;
    params.prompt = text.str();
    params.n_ctx = atoi(given[3]);
    params.n_batch = atoi(given[4]);
    llama_model_params model = llama_model_default_params();
    model.use_extra_bufts = false;
    llama_context_params context = llama_context_default_params();
    context.n_ctx = params.n_ctx;
    context.n_batch = params.n_batch;
    llama_context *ctx = llama_init_from_model(llama_model_load_from_file(given[1], model), context);
    printf(" %.9f", perplexity(ctx, params, params.n_ctx).ppl_value);
}
"""
HEADERS = ("tools/perplexity", "common", "include", "ggml/include", "vendor")


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program around the perplexity of llama.cpp's tool, out of the pinned archive.

    Of what the tool is linked with it needs a few files; the rest of those is left out, with what they name.
    """
    folder = tmp_path_factory.mktemp("upstream")
    fetch, source = load_fetch(), folder / "source"
    fetch.unpack(fetch.pin(), fetch.pin()["root"], tuple(f"{name}/*" for name in HEADERS), source)
    (folder / "caller.cpp").write_text(CALLER)
    files = [folder / "caller.cpp", *(source / "common" / f"{name}.cpp" for name in ("common", "json", "log"))]
    flags = ["-std=c++17", "-O1", "-w", "-ffunction-sections", *(f"-I{source / name}" for name in HEADERS)]
    libraries = ["-Wl,--start-group", *map(str, map(static_library, LIBRARIES)), "-Wl,--end-group", *c_programs.SYSTEM]
    compiler = os.environ.get("CXX", "c++")
    output_of(compiler, *flags, *files, "-Wl,--gc-sections", *libraries, "-o", folder / "program")
    return folder / "program"


@pytest.mark.long
@pytest.mark.parametrize(("size", "batch"), [(512, 512), (256, 100)])
def test_it_is_what_upstream_s_tool_says(
    size: int, batch: int, upstream: Path, call: Call, model_path: Path, tmp_path: Path
) -> None:
    """Within half a per cent, of a text that the model has not been trained to repeat: this project's own."""
    text = tmp_path / "text"
    text.write_bytes((ROOT / "docs" / "safety.md").read_bytes()[:6000].strip())
    expected = float(output_of(upstream, model_path, text, str(size), str(batch)).split()[-1])
    told = json.loads(call("perplexity", text, "-m", model_path, "-c", size, "-b", batch, "--json").out)
    assert told["perplexity"] == pytest.approx(expected, rel=0.005)
