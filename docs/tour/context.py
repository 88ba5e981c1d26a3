"""Make contexts of one model: each has its own memory and computes by itself."""

import os
import sys
import warnings

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

llamacffi.log_to("llama.cpp")
path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())

params = llama.llama_context_default_params()
params.n_ctx = 1000  # tokens that it remembers
params.n_batch = 256  # tokens that one call of llama_decode takes
params.n_ubatch = 64  # tokens that are computed at the same time
params.n_threads = 64  # more than there are CPUs is no error
params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED

ctx = llama.llama_init_from_model(model, params)
print("tokens:", llama.llama_n_ctx(ctx))
print("a batch:", llama.llama_n_batch(ctx), "computed in steps of", llama.llama_n_ubatch(ctx))
print("threads are at most the usable CPUs:", llama.llama_n_threads(ctx) <= llamacffi.usable_cpus())
print("its model is the one it was made of:", llama.llama_get_model(ctx) == model)

other = llama.llama_init_from_model(model, llama.llama_context_default_params())
print("another one, with the defaults:", llama.llama_n_ctx(other), "tokens")

llama.llama_model_free(model)  # any order is fine: the contexts go on, and the weights go with the last of them
print("after freeing the model:", llama.llama_n_ctx(ctx))
llama.llama_free(ctx)
llama.llama_free(other)

warnings.simplefilter("error", llamacffi.LlamaWarning)  # without this line it is a warning
try:
    params.n_thread = 2
except llamacffi.LlamaWarning as warning:
    print("a slip of the pen:", warning)
