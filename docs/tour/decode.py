"""Run the model over tokens, read its logits, and write a text with them."""

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
n_vocab = llama.llama_vocab_n_tokens(vocab)
ctx = llama.llama_init_from_model(model, llama.llama_context_default_params())


def text(tokens):
    buffer = bytearray(256)
    return buffer[: llama.llama_detokenize(vocab, tokens, len(tokens), buffer, len(buffer), False, False)].decode()


def logits(index):
    """View the logits of one token of the last batch, in llama.cpp's own memory; -1 is the last one that has any."""
    return np.ctypeslib.as_array(llama.llama_get_logits_ith(ctx, index), (n_vocab,))


prompt = b"The capital of France is"
tokens = np.empty(32, np.int32)
tokens = tokens[: llama.llama_tokenize(vocab, prompt, len(prompt), tokens, len(tokens), True, False)]

# A batch says of each token what it is, where it stands, in which sequences, and whether its logits are wanted.
batch = llama.llama_batch_init(len(tokens), 0, 1)
for i, token in enumerate(tokens):
    batch.token[i], batch.pos[i] = token, i
    batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
    batch.logits[i] = True
batch.n_tokens = len(tokens)
print("decoded:", llama.llama_decode(ctx, batch))  # 0 is success
for i, token in enumerate(tokens):
    print(f"  after {text([token])!r:11} it expects {text([logits(i).argmax()])!r}")

# The short way, for one sequence: the tokens go behind those that the context has.
written = [logits(-1).argmax()]
for _ in range(1):
    llama.llama_decode(ctx, llama.llama_batch_get_one(np.array(written[-1:], np.int32), 1))
    written.append(logits(-1).argmax())
print(prompt.decode() + text(np.array(written, np.int32)))

memory = llama.llama_get_memory(ctx)
print("positions in memory: 0 to", llama.llama_memory_seq_pos_max(memory, 0))

llama.llama_batch_free(batch)
llama.llama_free(ctx)
llama.llama_model_free(model)
