"""How long each step took: by llama.cpp's clock, and by its own counters."""

import contextlib
import sys
from collections.abc import Iterator

import llama_cpp.llama_cpp as llama_cpp


@contextlib.contextmanager
def timed(step: str) -> Iterator[None]:
    start = llama_cpp.llama_time_us()
    yield
    print(f"{step} took time: {llama_cpp.llama_time_us() > start}")


def decode(context: int, model: int, text: bytes) -> None:
    vocab = llama_cpp.llama_model_get_vocab(model)
    tokens = (llama_cpp.llama_token * 64)()
    count = llama_cpp.llama_tokenize(vocab, text, len(text), tokens, len(tokens), True, False)
    if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, count)) != 0:
        raise SystemExit("llama_decode failed")
    llama_cpp.llama_synchronize(context)
    print("tokens counted:", llama_cpp.llama_perf_context(context).n_p_eval == count > 1)


llama_cpp.llama_backend_init()
with timed("loading"):
    model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), llama_cpp.llama_model_default_params())
params = llama_cpp.llama_context_default_params()
params.n_threads = params.n_threads_batch = 1
params.no_perf = False
with timed("making a context"):
    context = llama_cpp.llama_new_context_with_model(model, params)
with timed("decoding"):
    decode(context, model, b"Llamas are kept for their wool, and for company.")
performance = llama_cpp.llama_perf_context(context)
print("decoding was counted:", performance.t_p_eval_ms > 0)
llama_cpp.llama_free(context)
llama_cpp.llama_model_free(model)
llama_cpp.llama_backend_free()
