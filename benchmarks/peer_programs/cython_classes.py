"""Generate with cyllama's classes around llama.cpp's structs, as its own `cyllama.api.simple` does."""

from __future__ import annotations

from typing import Any

import measuring
from cyllama.llama import llama_cpp as api


def open_model(given: measuring.Given) -> measuring.Generate:
    api.disable_logging()
    api.ggml_backend_load_all()
    model = api.LlamaModel(given["model"], api.LlamaModelParams())
    params = api.LlamaContextParams()
    params.n_ctx, params.n_batch = given["context"], given["batch"]
    params.n_threads = params.n_threads_batch = given["threads"]
    context = api.LlamaContext(model, params)
    sampler = api.LlamaSampler(api.LlamaSamplerChainParams())
    sampler.add_greedy()
    return lambda prompt, count: generate(context, model.get_vocab(), sampler, prompt, count)


def generate(context: Any, vocab: Any, sampler: Any, prompt: list[int], count: int) -> str:
    context.kv_cache_clear()
    tokens, position, text = prompt, 0, ""
    for _ in range(count):
        context.decode(api.llama_batch_get_one(tokens, position))
        position += len(tokens)
        tokens = [sampler.sample(context, -1)]
        text += vocab.token_to_piece(tokens[0], special=True)
    return text


if __name__ == "__main__":
    measuring.run(open_model)
