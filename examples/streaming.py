"""Write a text while it comes, up to a word that ends it: python examples/streaming.py [MODEL]"""

import codecs
import os
import sys

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

PROMPT = b"One, two, three, four,"
STOP = "nine"


def pieces(ctx, vocab, prompt, count):
    """Yield the bytes of each token as soon as it was sampled."""
    tokens = np.empty(len(prompt) + 2, np.int32)
    tokens = tokens[: llama.llama_tokenize(vocab, prompt, len(prompt), tokens, len(tokens), True, False)]
    sampler = llama.llama_sampler_init_greedy()
    buffer = bytearray(64)
    try:
        for _ in range(count):
            llama.llama_decode(ctx, llama.llama_batch_get_one(tokens, len(tokens)))
            token = llama.llama_sampler_sample(sampler, ctx, -1)
            if llama.llama_vocab_is_eog(vocab, token):
                return
            yield bytes(buffer[: llama.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, False)])
            tokens = np.array([token], np.int32)
    finally:  # also when the reader stops before the end
        llama.llama_sampler_free(sampler)


def until(stop, parts):
    """Yield text up to the stop word: what may be its beginning is held back until it is known."""
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")  # a character may come in several pieces
    held = ""
    for part in parts:
        held += decoder.decode(part)
        if stop in held:
            yield held[: held.index(stop)]
            return
        keep = next((n for n in range(min(len(stop) - 1, len(held)), 0, -1) if held.endswith(stop[:n])), 0)
        yield held[: len(held) - keep]
        held = held[len(held) - keep :]
    yield held


def main():
    llamacffi.log_to("llama.cpp")
    path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
    model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
    ctx = llama.llama_init_from_model(model, llama.llama_context_default_params())

    print(PROMPT.decode(), end="", flush=True)
    for text in until(STOP, pieces(ctx, llama.llama_model_get_vocab(model), PROMPT, 40)):
        print(text, end="", flush=True)
    print()

    llama.llama_free(ctx)
    llama.llama_model_free(model)


main()
