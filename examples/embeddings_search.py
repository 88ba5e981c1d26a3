"""Find the sentences that are nearest to a question: python examples/embeddings_search.py [MODEL [QUESTION]]

A model that was made for embeddings finds more than the default one, which was made to chat.
"""

import os
import sys

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

SENTENCES = [
    "The cat sleeps on the sofa.",
    "A dog barked at the mailman.",
    "Interest rates rose again in March.",
    "The bank made loans more expensive.",
    "Rain is expected over the weekend.",
    "The storm flooded several streets.",
]


def tokenize(vocab, text):
    encoded = text.encode()
    tokens = np.empty(len(encoded) + 2, np.int32)
    return tokens[: llama.llama_tokenize(vocab, encoded, len(encoded), tokens, len(tokens), True, False)]


def embed(ctx, texts):
    """Return a vector for each text, a row each. All of them are computed at once, each as a sequence."""
    model = llama.llama_get_model(ctx)
    vocab, width = llama.llama_model_get_vocab(model), llama.llama_model_n_embd_out(model)
    batch = llama.llama_batch_init(llama.llama_n_batch(ctx), 0, 1)
    for sequence, text in enumerate(texts):
        for pos, token in enumerate(tokenize(vocab, text)):
            i = batch.n_tokens
            batch.token[i], batch.pos[i], batch.logits[i] = token, pos, True
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            batch.n_tokens += 1
    if llama.llama_decode(ctx, batch) != 0:
        sys.exit(f"the texts could not be computed: {llamacffi.last_error()}")
    llama.llama_batch_free(batch)
    rows = [llama.llama_get_embeddings_seq(ctx, sequence) for sequence in range(len(texts))]
    return np.array([np.ctypeslib.as_array(row, (width,)) for row in rows])


def main():
    llamacffi.log_to("llama.cpp")
    path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
    question = sys.argv[2] if sys.argv[2:] else "How is the weather?"
    model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
    params = llama.llama_context_default_params()
    params.embeddings = True
    params.pooling_type = llama.LLAMA_POOLING_TYPE_MEAN
    params.n_seq_max, params.kv_unified = 8, True
    ctx = llama.llama_init_from_model(model, params)

    vectors = embed(ctx, [*SENTENCES, question])
    vectors -= vectors[:-1].mean(axis=0)  # what all sentences share says nothing
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = vectors[:-1] @ vectors[-1]
    print(question)
    for index in scores.argsort()[::-1]:
        print(f"  {scores[index]:5.2f}  {SENTENCES[index]}")

    llama.llama_free(ctx)
    llama.llama_model_free(model)


main()
