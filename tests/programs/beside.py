"""Compute with several engines and libraries in one process: one after the other, then all at once.

usage: beside.py MODEL STEP...: takes the steps in this order, then prints as JSON what each computed, both times.
`ours` is llamacffi, `theirs` llama-cpp-python's package, whose library LLAMA_CPP_LIB_PATH names; `global` loads that
library so that whatever is loaded later finds its symbols first; `numpy` and `torch` multiply matrices.
"""

import ctypes
import functools
import hashlib
import importlib
import json
import os
import pathlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

PROMPT = b"The capital of France is"
COUNT = 8
ENGINES = {"ours": "llamacffi.llama_cpp", "theirs": "llama_cpp.llama_cpp"}


def load_globally():
    """Load llama-cpp-python's library and what it needs, for all."""
    ctypes.CDLL(str(pathlib.Path(os.environ["LLAMA_CPP_LIB_PATH"], "libllama.so")), ctypes.RTLD_GLOBAL)


def take(step):
    """Take a step; return the module that it brings."""
    return load_globally() if step == "global" else importlib.import_module(ENGINES.get(step, step))


def open_context(llama, model, threads=2):
    params = llama.llama_context_default_params()
    params.n_ctx = 512
    params.n_threads = params.n_threads_batch = threads
    return llama.llama_init_from_model(model, params)


def load(llama, path):
    return llama.llama_model_load_from_file(os.fsencode(path), llama.llama_model_default_params())


def generate(llama, path):
    """Complete the prompt greedily: the tokens, and the bits of the last logits."""
    model = load(llama, path)
    vocab, context = llama.llama_model_get_vocab(model), open_context(llama, model)
    n_vocab, buffer, told = llama.llama_vocab_n_tokens(vocab), (llama.llama_token * 64)(), []
    count = llama.llama_tokenize(vocab, PROMPT, len(PROMPT), buffer, len(buffer), True, True)
    for _ in range(COUNT):
        assert llama.llama_decode(context, llama.llama_batch_get_one(buffer, count)) == 0
        logits = llama.llama_get_logits_ith(context, -1)[:n_vocab]
        buffer[0], count = logits.index(max(logits)), 1
        told.append(buffer[0])
    llama.llama_free(context)
    llama.llama_model_free(model)
    return [*told, hashlib.sha256((ctypes.c_float * n_vocab)(*logits)).hexdigest()]


def multiply(library, size=600):
    """Multiply matrices of small integers as float64, which is exact; return a digest of the product."""
    matrix = library.arange(size * size).reshape(size, size) % 97
    matrix = library.asarray(matrix, dtype=library.float64)
    return hashlib.sha256(repr((matrix @ matrix).tolist()).encode()).hexdigest()


def work_of(step, module, path):
    """What a step is to compute again and again."""
    return functools.partial(generate, module, path) if step in ENGINES else functools.partial(multiply, module)


def at_once(work):
    """Do all of it in threads that start together."""
    start = threading.Barrier(len(work))
    with ThreadPoolExecutor(len(work)) as pool:
        running = {name: pool.submit(lambda one: (start.wait(), one())[1], one) for name, one in work.items()}
        return {name: future.result() for name, future in running.items()}


def main(path, *steps):
    modules = {step: take(step) for step in steps}
    work = {step: work_of(step, module, path) for step, module in modules.items() if module}
    alone = {name: one() for name, one in work.items()}
    together = at_once(work)
    print(json.dumps({name: [alone[name], together[name]] for name in work}))


if __name__ == "__main__":
    main(*sys.argv[1:])
