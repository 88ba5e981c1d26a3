"""Turn texts into vectors, and see which of them mean something similar."""

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
params.embeddings = True
params.pooling_type = llama.LLAMA_POOLING_TYPE_MEAN  # one vector for a sequence, not one for each token
params.n_seq_max = 4
params.kv_unified = True
ctx = llama.llama_init_from_model(model, params)

texts = [
    b"The cat sleeps on the sofa.",
    b"A kitten is napping on the couch.",
    b"Interest rates rose again in March.",
    b"The bank made loans more expensive.",
]
batch = llama.llama_batch_init(128, 0, 1)
for sequence, text in enumerate(texts):
    tokens = np.empty(32, np.int32)
    tokens = tokens[: llama.llama_tokenize(vocab, text, len(text), tokens, len(tokens), True, False)]
    for pos, token in enumerate(tokens):
        i = batch.n_tokens
        batch.token[i], batch.pos[i], batch.logits[i] = token, pos, True
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        batch.n_tokens += 1
llama.llama_decode(ctx, batch)  # all texts at once

width = llama.llama_model_n_embd_out(model)
vectors = np.array([np.ctypeslib.as_array(llama.llama_get_embeddings_seq(ctx, i), (width,)) for i in range(4)])
vectors -= vectors.mean(axis=0)  # what all of them share says nothing
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
for i, row in enumerate(vectors @ vectors.T):
    row[i] = -1
    print(f"{texts[i].decode():38} is nearest to: {texts[row.argmax()].decode()}")

llama.llama_batch_free(batch)
llama.llama_free(ctx)
llama.llama_model_free(model)
