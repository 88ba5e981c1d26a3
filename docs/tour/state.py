"""Keep what a context has computed, and go on with it later, or in another process."""

import ctypes
import os
import sys
import tempfile

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

llamacffi.log_to("llama.cpp")
path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
vocab = llama.llama_model_get_vocab(model)
greedy = llama.llama_sampler_init_greedy()


def new_context():
    return llama.llama_init_from_model(model, llama.llama_context_default_params())


def decode(ctx, tokens):
    return llama.llama_decode(ctx, llama.llama_batch_get_one(np.asarray(tokens, np.int32), len(tokens)))


def go_on(ctx, last, count=6):
    """Decode the last token, and write what comes after it."""
    written = []
    for _ in range(count):
        decode(ctx, [last])
        last = llama.llama_sampler_sample(greedy, ctx, -1)
        written.append(last)
    buffer = bytearray(128)
    tokens = np.array(written, np.int32)
    return buffer[: llama.llama_detokenize(vocab, tokens, len(tokens), buffer, len(buffer), False, False)].decode()


prompt = b"One, two, three, four,"
tokens = np.empty(32, np.int32)
tokens = tokens[: llama.llama_tokenize(vocab, prompt, len(prompt), tokens, len(tokens), True, False)]
ctx = new_context()
decode(ctx, tokens[:-1])

# In memory: one buffer holds all that the context knows.
state = np.empty(llama.llama_state_get_size(ctx), np.uint8)
size = llama.llama_state_get_data(ctx, state, len(state))
print("the whole state is written:", size == len(state))
expected = go_on(ctx, tokens[-1])
print("text:   ", prompt.decode() + expected)

llama.llama_state_set_data(ctx, state, len(state))  # back to the end of the prompt
print("again:  ", go_on(ctx, tokens[-1]) == expected)

# In a file, together with the tokens, so that a later process knows what was decoded.
with tempfile.TemporaryDirectory() as folder:
    file = f"{folder}/session.bin"
    llama.llama_state_set_data(ctx, state, len(state))
    print("saved:  ", llama.llama_state_save_file(ctx, file, tokens, len(tokens)))
    fresh, room, count = new_context(), np.empty(32, np.int32), ctypes.c_size_t()
    print("loaded: ", llama.llama_state_load_file(fresh, file, room, len(room), ctypes.byref(count)))
    print("tokens: ", np.array_equal(room[: count.value], tokens))
    print("goes on:", go_on(fresh, room[count.value - 1]) == expected)

# A sequence alone, into a sequence of another context.
size = llama.llama_state_seq_get_size(ctx, 0)
print("a sequence alone is no larger:", size <= len(state))
llama.llama_sampler_free(greedy)
for context in (ctx, fresh):
    llama.llama_free(context)
llama.llama_model_free(model)
