"""Choose the next token: chains of samplers, seeds, and a grammar that leaves no choice."""

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
ctx = llama.llama_init_from_model(model, llama.llama_context_default_params())


def chain(*samplers):
    """Chain samplers; the chain owns them from here on, and frees them with itself."""
    made = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    for sampler in samplers:
        llama.llama_sampler_chain_add(made, sampler)
    return made


def write(prompt, sampler, count=12):
    """Go on with a prompt until the model ends its text, or there are enough tokens."""
    llama.llama_memory_clear(llama.llama_get_memory(ctx), True)
    tokens = np.empty(64, np.int32)
    tokens = tokens[: llama.llama_tokenize(vocab, prompt, len(prompt), tokens, len(tokens), True, False)]
    written = bytearray()
    piece = bytearray(64)
    for _ in range(count):
        llama.llama_decode(ctx, llama.llama_batch_get_one(tokens, len(tokens)))
        token = llama.llama_sampler_sample(sampler, ctx, -1)  # also tells the chain that it was taken
        if llama.llama_vocab_is_eog(vocab, token):
            break
        written += piece[: llama.llama_token_to_piece(vocab, token, piece, len(piece), 0, False)]
        tokens = np.array([token], np.int32)
    llama.llama_sampler_free(sampler)
    return written.decode(errors="replace")


def seeded(seed):
    """A usual chain: the likeliest 40, then those that make up 95 %, warmer, then a draw."""
    return chain(
        llama.llama_sampler_init_top_k(40),
        llama.llama_sampler_init_top_p(0.95, min_keep=1),
        llama.llama_sampler_init_temp(0.8),
        llama.llama_sampler_init_dist(seed),
    )


print("greedy: One, two, three, four,", write(b"One, two, three, four,", llama.llama_sampler_init_greedy(), 6).strip())
story = b"Once upon a time"
first = write(story, seeded(1))
print("a seed gives the same text again:", write(story, seeded(1)) == first)
print("and another seed another one:", write(story, seeded(2)) != first)

rules = r"""
root   ::= " " number " " unit "."
number ::= [1-9] [0-9]*
unit   ::= "days" | "hours"
"""
grammar = llama.llama_sampler_init_grammar(vocab, rules, "root")
print("by a grammar: A week has", write(b"A week has", chain(grammar, llama.llama_sampler_init_greedy())).strip())

if not llama.llama_sampler_init_grammar(vocab, "root ::= missing", "root"):
    print("a grammar with a mistake:", llamacffi.last_error().splitlines()[0])

llama.llama_free(ctx)
llama.llama_model_free(model)
