"""Generate with xllamacpp, which offers no function of llama.cpp, but its server in the same process.

The request goes to the server's own queue as a dictionary, not over HTTP. What the other programs do not do either is
switched off: keeping the prompt for the next request, and all samplers but the one that leaves the likeliest token.
"""

from __future__ import annotations

from typing import Any

import measuring
import xllamacpp

GREEDY = {"samplers": ["top_k"], "top_k": 1, "temperature": 0.0, "ignore_eos": True, "cache_prompt": False}


def open_model(given: measuring.Given) -> measuring.Generate:
    params = xllamacpp.CommonParams()
    params.model.path = given["model"]
    params.n_ctx, params.n_batch, params.n_parallel = given["context"], given["batch"], 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given["threads"]
    params.cache_ram_mib = 0
    params.verbosity = 0
    server = xllamacpp.Server(params)
    return lambda prompt, count: generate(server, prompt, count)


def generate(server: Any, prompt: list[int], count: int) -> str:
    answer = server.handle_completions({**GREEDY, "prompt": prompt, "max_tokens": count})
    usage = answer["usage"]
    if (usage["prompt_tokens"], usage["completion_tokens"]) != (len(prompt), count):
        raise SystemExit(f"asked for {count} tokens after {len(prompt)}, the server tells of {usage}")
    return str(answer["choices"][0]["text"])


if __name__ == "__main__":
    measuring.run(open_model)
