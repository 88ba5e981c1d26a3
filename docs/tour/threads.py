"""Compute in several Python threads, and end what takes too long."""

import os
import sys
import threading

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

llamacffi.log_to("llama.cpp")
path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
params = llama.llama_context_default_params()
params.n_ctx = params.n_batch = 2048
contexts = [llama.llama_init_from_model(model, params) for _ in range(2)]


def decode(ctx, count):
    tokens = np.full(count, 100, np.int32)
    return llama.llama_decode(ctx, llama.llama_batch_get_one(tokens, count))


# Each context in a thread of its own: the GIL is released while llama.cpp computes.
results = {}
threads = [threading.Thread(target=lambda ctx=ctx: results.update({ctx: decode(ctx, 8)})) for ctx in contexts]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("both decoded:", [results[ctx] for ctx in contexts])

# A long prompt, which the main thread ends.
ctx = contexts[0]
llama.llama_memory_clear(llama.llama_get_memory(ctx), True)
worker = threading.Thread(target=lambda: results.update({ctx: decode(ctx, 2048)}))
worker.start()
while not llamacffi.cancel(ctx):  # False until the decode has begun
    pass
worker.join()
print("cancelled:", results[ctx])  # 2 is "aborted"
print("less than the whole prompt is in memory:", llama.llama_memory_seq_pos_max(llama.llama_get_memory(ctx), 0) < 2047)
llama.llama_memory_clear(llama.llama_get_memory(ctx), True)
print("and it goes on:", decode(ctx, 8))

for context in contexts:
    llama.llama_free(context)
llama.llama_model_free(model)
