"""Complete a prompt greedily through the documented API: the twin of greedy.c.

usage: greedy.py MODEL PROMPT COUNT THREADS LOGITS: prints one token id a line, and writes the last logits to LOGITS.
"""

import ctypes
import os
import pathlib
import sys

from llamacffi import llama_cpp


def open_context(model: int, threads: int) -> int:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = 512
    params.n_threads = params.n_threads_batch = threads
    return llama_cpp.llama_new_context_with_model(model, params)


def tokenize(vocab: int, text: bytes) -> tuple[ctypes.Array, int]:
    tokens = (llama_cpp.llama_token * 256)()
    return tokens, llama_cpp.llama_tokenize(vocab, text, len(text), tokens, len(tokens), True, True)


def complete(context: int, vocab: int, prompt: bytes, count: int) -> bytes:
    """Print `count` tokens; return the last logits."""
    n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
    tokens, n_tokens = tokenize(vocab, prompt)
    logits = None
    for _ in range(count):
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, n_tokens)) != 0:
            raise SystemExit("llama_decode failed")
        logits = llama_cpp.llama_get_logits_ith(context, -1)[:n_vocab]
        tokens[0] = logits.index(max(logits))
        n_tokens = 1
        print(tokens[0])
    return bytes((ctypes.c_float * n_vocab)(*logits))


def main(path: str, prompt: str, count: str, threads: str, output: str) -> None:
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), llama_cpp.llama_model_default_params())
    context = open_context(model, int(threads))
    logits = complete(context, llama_cpp.llama_model_get_vocab(model), prompt.encode(), int(count))
    pathlib.Path(output).write_bytes(logits)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    llama_cpp.llama_backend_free()


if __name__ == "__main__":
    main(*sys.argv[1:])
