"""Decode several tokens at once by guessing them: python examples/speculative.py [MODEL]

The draft is looked up: where the last two tokens stood before, the same may follow again. One decode checks all of it.
"""

import os
import sys

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

PROMPT = b"red, green, blue, red, green, blue, red, green, blue,"
DRAFT, TOKENS = 6, 24


def draft(tokens):
    """Guess what comes next: what came the last time after these two tokens."""
    for start in range(len(tokens) - 3, -1, -1):
        if tokens[start : start + 2] == tokens[-2:]:
            return tokens[start + 2 : start + 2 + DRAFT]
    return []


def decode(ctx, batch, tokens, pos):
    """Decode tokens from a position on, with logits for each of them."""
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.logits[i] = token, pos + i, True
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
    batch.n_tokens = len(tokens)
    llama.llama_decode(ctx, batch)


def generate(ctx, batch, tokens, guess):
    """Add the likeliest tokens until there are enough; return the number of decodes."""
    greedy, memory = llama.llama_sampler_init_greedy(), llama.llama_get_memory(ctx)
    llama.llama_memory_clear(memory, True)  # of the run before
    decode(ctx, batch, tokens[:-1], 0)
    end, decodes = len(tokens) + TOKENS, 0
    while len(tokens) < end:
        guessed = guess(tokens)
        decode(ctx, batch, [tokens[-1], *guessed], len(tokens) - 1)  # the last token is not decoded yet
        decodes += 1
        for i in range(len(guessed) + 1):
            tokens.append(llama.llama_sampler_sample(greedy, ctx, i))
            if guessed[i : i + 1] != tokens[-1:]:
                break
        llama.llama_memory_seq_rm(memory, 0, len(tokens) - 1, -1)  # what was guessed wrongly
    llama.llama_sampler_free(greedy)
    del tokens[end:]
    return decodes


def main():
    llamacffi.log_to("llama.cpp")
    path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
    model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
    ctx = llama.llama_init_from_model(model, llama.llama_context_default_params())
    batch = llama.llama_batch_init(128, 0, 1)

    prompt = np.empty(64, np.int32)
    count = llama.llama_tokenize(
        llama.llama_model_get_vocab(model), PROMPT, len(PROMPT), prompt, len(prompt), True, False
    )
    texts = []
    for name, guess in {"one by one": lambda _: [], "with drafts": draft}.items():
        tokens, started = prompt[:count].tolist(), llama.llama_time_us()
        decodes = generate(ctx, batch, tokens, guess)
        texts.append(tokens)
        print(f"{name:12} {TOKENS} tokens, {decodes:2} decodes, {(llama.llama_time_us() - started) / 1e6:.2f} s")
    print("the same tokens:", texts[0] == texts[1])
    llama.llama_batch_free(batch)
    llama.llama_free(ctx)
    llama.llama_model_free(model)


main()
