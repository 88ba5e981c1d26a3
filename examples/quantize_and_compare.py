"""Quantize a model, and compare what it expects with the original: python examples/quantize_and_compare.py [MODEL]"""

import os
import sys
import tempfile

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

TEXT = (
    b"Water covers most of the surface of the Earth. It falls as rain or snow, runs down the rivers into the sea, "
    b"and rises again as vapour when the sun warms it. Plants and animals need it to live."
)


def quantize(path, made, ftype):
    params = llama.llama_model_quantize_default_params()
    params.ftype = ftype
    params.allow_requantize = True  # for a model that is quantized already
    params.nthread = llamacffi.usable_cpus()
    if llama.llama_model_quantize(path, made, params) != 0:
        sys.exit(f"the model could not be quantized: {llamacffi.last_error()}")


def expectations(path):
    """Return the size of the weights, the tokens of the text, and the log-probabilities of what comes next at each."""
    model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
    vocab, size = llama.llama_model_get_vocab(model), llama.llama_model_size(model)
    ctx = llama.llama_init_from_model(model, llama.llama_context_default_params())
    tokens = np.empty(len(TEXT) + 2, np.int32)
    tokens = tokens[: llama.llama_tokenize(vocab, TEXT, len(TEXT), tokens, len(tokens), True, False)]
    batch = llama.llama_batch_init(len(tokens), 0, 1)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.logits[i] = token, i, True
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
    batch.n_tokens = len(tokens)
    llama.llama_decode(ctx, batch)
    shape = (len(tokens), llama.llama_vocab_n_tokens(vocab))
    logits = np.ctypeslib.as_array(llama.llama_get_logits(ctx), shape).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    llama.llama_batch_free(batch)
    llama.llama_free(ctx)
    llama.llama_model_free(model)
    return size, tokens, logits[:-1]


def perplexity(tokens, logs):
    """How many tokens it hesitates between, on average: the exponential of the mean surprise."""
    return np.exp(-logs[np.arange(len(logs)), tokens[1:]].mean())


def main():
    llamacffi.log_to("llama.cpp")
    path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
    size, tokens, logs = expectations(path)
    print(f"{'':10}{'MB':>8}{'perplexity':>12}{'same choice':>13}{'divergence':>12}")
    print(f"{'original':10}{size / 1e6:8.1f}{perplexity(tokens, logs):12.2f}")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Q8_0", "Q4_0"):
            made = f"{folder}/{name}.gguf"
            quantize(path, made, getattr(llama, f"LLAMA_FTYPE_MOSTLY_{name}"))
            size, _, other = expectations(made)
            same = (other.argmax(axis=1) == logs.argmax(axis=1)).mean()
            divergence = (np.exp(logs) * (logs - other)).sum(axis=1).mean()
            print(f"{name:10}{size / 1e6:8.1f}{perplexity(tokens, other):12.2f}{same:13.0%}{divergence:12.4f}")


main()
