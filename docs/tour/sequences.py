"""Write several texts at once: sequences of one context, which share the beginning."""

import os
import sys

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

llamacffi.log_to("llama.cpp")
path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
vocab = llama.llama_model_get_vocab(model)
params = llama.llama_context_default_params()
params.n_seq_max = 3
params.kv_unified = True  # all sequences share the context's memory
ctx = llama.llama_init_from_model(model, params)
memory = llama.llama_get_memory(ctx)


def tokenize(text, add_special):
    tokens = np.empty(64, np.int32)
    return tokens[: llama.llama_tokenize(vocab, text, len(text), tokens, len(tokens), add_special, False)]


def add(batch, token, pos, sequence, logits):
    i = batch.n_tokens
    batch.token[i], batch.pos[i], batch.logits[i] = token, pos, logits
    batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
    batch.n_tokens += 1


beginning = tokenize(b"The opposite of", True)
llama.llama_decode(ctx, llama.llama_batch_get_one(beginning, len(beginning)))
for sequence in (1, 2):  # the same cells belong to one more sequence: nothing is computed, nothing copied
    llama.llama_memory_seq_cp(memory, 0, sequence, 0, -1)

texts = [tokenize(ending, False).tolist() for ending in (b" hot is", b" fast is", b" north is")]
batch = llama.llama_batch_init(32, 0, 1)
for sequence, tokens in enumerate(texts):
    for i, token in enumerate(tokens):
        add(batch, token, len(beginning) + i, sequence, i == len(tokens) - 1)

greedy = llama.llama_sampler_init_greedy()
ends = [i for i in range(batch.n_tokens) if batch.logits[i]]
for _ in range(2):
    llama.llama_decode(ctx, batch)  # one call computes the next token of each text
    sampled = [llama.llama_sampler_sample(greedy, ctx, index) for index in ends]
    batch.n_tokens = 0
    for sequence, token in enumerate(sampled):
        texts[sequence].append(token)
        add(batch, token, len(beginning) + len(texts[sequence]) - 1, sequence, True)
    ends = range(3)

for tokens in texts:
    whole = np.array([*beginning, *tokens], np.int32)
    buffer = bytearray(256)
    print(buffer[: llama.llama_detokenize(vocab, whole, len(whole), buffer, len(buffer), True, False)].decode())

llama.llama_memory_seq_rm(memory, 1, -1, -1)  # a text that is done makes room
print("last positions:", [llama.llama_memory_seq_pos_max(memory, sequence) for sequence in range(3)])

llama.llama_sampler_free(greedy)
llama.llama_batch_free(batch)
llama.llama_free(ctx)
llama.llama_model_free(model)
