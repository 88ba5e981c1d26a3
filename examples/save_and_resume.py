"""Keep what was read in a file, and go on another day: python examples/save_and_resume.py [MODEL [SESSION]]

The first run reads the prompt and writes the file SESSION (session.bin). Each later run loads it, writes a few
tokens more, and saves again.
"""

import ctypes
import os
import sys
from pathlib import Path

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

PROMPT = b"One, two, three, four,"
TOKENS = 6


def text(vocab, tokens):
    buffer = bytearray(8 * len(tokens) + 64)
    length = llama.llama_detokenize(vocab, tokens, len(tokens), buffer, len(buffer), True, False)
    return buffer[:length].decode(errors="replace")


def load(ctx, session):
    """Return the tokens of the session; the context then is as it was when they were saved."""
    tokens, count = np.empty(llama.llama_n_ctx(ctx), np.int32), ctypes.c_size_t()
    if not llama.llama_state_load_file(ctx, bytes(session), tokens, len(tokens), ctypes.byref(count)):
        sys.exit(f"{session} could not be loaded: {llamacffi.last_error()}")
    return tokens[: count.value].tolist()


def start(ctx, vocab):
    """Read the prompt, all but its last token, which the first step of generating decodes."""
    tokens = np.empty(len(PROMPT) + 2, np.int32)
    count = llama.llama_tokenize(vocab, PROMPT, len(PROMPT), tokens, len(tokens), True, False)
    llama.llama_decode(ctx, llama.llama_batch_get_one(tokens, count - 1))
    return tokens[:count].tolist()


def go_on(ctx, tokens):
    greedy = llama.llama_sampler_init_greedy()
    for _ in range(TOKENS):
        llama.llama_decode(ctx, llama.llama_batch_get_one(np.array(tokens[-1:], np.int32), 1))
        tokens.append(llama.llama_sampler_sample(greedy, ctx, -1))
    llama.llama_sampler_free(greedy)


def main():
    llamacffi.log_to("llama.cpp")
    path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
    session = Path(sys.argv[2] if sys.argv[2:] else "session.bin")
    model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
    vocab = llama.llama_model_get_vocab(model)
    ctx = llama.llama_init_from_model(model, llama.llama_context_default_params())

    known = session.exists()
    tokens = load(ctx, session) if known else start(ctx, vocab)
    print(f"{'resumed' if known else 'begun'} with {len(tokens)} tokens")
    go_on(ctx, tokens)
    print(text(vocab, np.array(tokens, np.int32)))
    saved = llama.llama_state_save_file(ctx, bytes(session), np.array(tokens, np.int32), len(tokens))
    print(f"saved to {session}" if saved else f"not saved: {llamacffi.last_error()}")

    llama.llama_free(ctx)
    llama.llama_model_free(model)


main()
