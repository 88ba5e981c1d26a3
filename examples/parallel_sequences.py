"""Answer many prompts with a few sequences of one context: python examples/parallel_sequences.py [MODEL]

Each decode computes one token of every text that is being written. When one is done, the next prompt takes its place.
"""

import os
import sys

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

WORDS = ["hot", "fast", "north", "good", "true", "light", "black"]
PROMPTS = [f"The opposite of {word} is".encode() for word in WORDS]
SEQUENCES, TOKENS = 3, 3


def tokenize(vocab, text):
    tokens = np.empty(len(text) + 2, np.int32)
    return tokens[: llama.llama_tokenize(vocab, text, len(text), tokens, len(tokens), True, False)].tolist()


def add(batch, token, pos, sequence, wants_logits):
    i = batch.n_tokens
    batch.token[i], batch.pos[i], batch.logits[i] = token, pos, wants_logits
    batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
    batch.n_tokens += 1


def piece(vocab, token):
    buffer = bytearray(64)
    return bytes(buffer[: llama.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, False)])


def main():
    llamacffi.log_to("llama.cpp")
    path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
    model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
    vocab = llama.llama_model_get_vocab(model)
    params = llama.llama_context_default_params()
    params.n_seq_max, params.kv_unified = SEQUENCES, True
    ctx = llama.llama_init_from_model(model, params)
    memory, greedy = llama.llama_get_memory(ctx), llama.llama_sampler_init_greedy()
    batch = llama.llama_batch_init(llama.llama_n_batch(ctx), 0, 1)

    waiting, active, decodes = list(PROMPTS), {}, 0
    while waiting or active:
        batch.n_tokens = 0
        sampled_at = {}
        for sequence in range(SEQUENCES):
            if sequence not in active and waiting:  # a new text: its whole prompt goes into the batch
                prompt = waiting.pop(0)
                active[sequence] = (prompt, b"", 0, tokenize(vocab, prompt))
            if sequence in active:
                _, _, pos, tokens = active[sequence]
                for i, token in enumerate(tokens):
                    add(batch, token, pos + i, sequence, i == len(tokens) - 1)
                sampled_at[sequence] = batch.n_tokens - 1
        llama.llama_decode(ctx, batch)
        decodes += 1
        for sequence, index in sampled_at.items():
            prompt, text, pos, tokens = active[sequence]
            token = llama.llama_sampler_sample(greedy, ctx, index)
            text += piece(vocab, token)
            active[sequence] = (prompt, text, pos + len(tokens), [token])
            if text.endswith(b".") or text.count(b" ") == TOKENS or llama.llama_vocab_is_eog(vocab, token):
                print((prompt + text).decode(errors="replace"))
                llama.llama_memory_seq_rm(memory, sequence, -1, -1)
                del active[sequence]
    print(f"{len(PROMPTS)} texts in {decodes} decodes")
    llama.llama_batch_free(batch)
    llama.llama_sampler_free(greedy)
    llama.llama_free(ctx)
    llama.llama_model_free(model)


main()
