"""Turn text into tokens, and tokens into text."""

import os
import sys

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

llamacffi.log_to("llama.cpp")
path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
params = llama.llama_model_default_params()
params.vocab_only = True  # no weights: loads at once
model = llama.llama_model_load_from_file(path, params)
vocab = llama.llama_model_get_vocab(model)
print("tokens in the vocabulary:", llama.llama_vocab_n_tokens(vocab))


def tokenize(text, parse_special=False):
    """Ask for the number, which comes negative where there is no room, and then for the tokens."""
    encoded = text.encode()
    count = -llama.llama_tokenize(vocab, encoded, len(encoded), None, 0, True, parse_special)
    tokens = np.empty(count, np.int32)
    llama.llama_tokenize(vocab, encoded, len(encoded), tokens, count, True, parse_special)
    return tokens


def piece(token):
    """Return the bytes of one token, which may be a part of a character."""
    buffer = bytearray(64)
    length = llama.llama_token_to_piece(vocab, token, buffer, len(buffer), lstrip=0, special=True)
    return bytes(buffer[:length])


text = "Llamas hum, 🦙!"
tokens = tokenize(text)
print(f"{text!r} is {len(tokens)} tokens:")
for token in tokens:
    print(f"  {token:6}  {piece(token)!r}")

buffer = bytearray(64)
length = llama.llama_detokenize(
    vocab, tokens, len(tokens), buffer, len(buffer), remove_special=False, unparse_special=False
)
print("and back:", buffer[:length].decode())

print("as text:   ", tokenize("<|im_end|>").size, "tokens")
print("as command:", tokenize("<|im_end|>", parse_special=True).size, "token")
end = llama.llama_vocab_eos(vocab)
print("the end is", piece(end), "and ends a text:", llama.llama_vocab_is_eog(vocab, end))
llama.llama_model_free(model)
