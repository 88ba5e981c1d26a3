"""Write a text without the letter e, by a sampler in Python: python examples/custom_sampler.py [MODEL]

A sampler is a struct of functions. `apply` gets the candidates, an array in llama.cpp's memory: here it sets the logits
of what must not be sampled to minus infinity. An exception in it would come out of llama_sampler_sample.
"""

import ctypes
import os
import sys

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

PROMPT = b"This story is about a man and his dog. It was a hot day"


def all_pieces(vocab):
    """Return the bytes of each token of the vocabulary."""
    buffer = bytearray(512)
    count = llama.llama_vocab_n_tokens(vocab)
    lengths = (llama.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, False) for token in range(count))
    return [bytes(buffer[:length]) for length in lengths]


def without(letters, pieces):
    """Make a sampler that refuses each token with one of these letters."""
    banned = np.array([any(letter in piece for letter in letters) for piece in pieces])
    fields = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])

    def apply(_, candidates):
        array = candidates.contents
        memory = ctypes.cast(array.data, ctypes.POINTER(ctypes.c_char * (array.size * fields.itemsize)))
        view = np.frombuffer(memory.contents, fields)  # no copy: what is written here, llama.cpp reads
        view["logit"][banned[view["id"]]] = -np.inf

    functions = llama.llama_sampler_i(
        name=llama.llama_sampler_i_name(lambda _: b"without"),
        apply=llama.llama_sampler_i_apply(apply),
    )
    return llama.llama_sampler_init(ctypes.byref(functions), None)  # keeps the functions alive


def main():
    llamacffi.log_to("llama.cpp")
    path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
    model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
    vocab = llama.llama_model_get_vocab(model)
    ctx = llama.llama_init_from_model(model, llama.llama_context_default_params())

    pieces = all_pieces(vocab)
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    llama.llama_sampler_chain_add(chain, without((b"e", b"E"), pieces))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_penalties(len(pieces), 64, 1.2, 0.0, 0.0))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_greedy())

    tokens = np.empty(len(PROMPT) + 2, np.int32)
    tokens = tokens[: llama.llama_tokenize(vocab, PROMPT, len(PROMPT), tokens, len(tokens), True, False)]
    written = b""
    for _ in range(24):
        llama.llama_decode(ctx, llama.llama_batch_get_one(tokens, len(tokens)))
        tokens = np.array([llama.llama_sampler_sample(chain, ctx, -1)], np.int32)
        written += pieces[tokens[0]]
    print((PROMPT + written).decode(errors="replace"))

    llama.llama_sampler_free(chain)
    llama.llama_free(ctx)
    llama.llama_model_free(model)


main()
