"""Parameters that are set on the default structs, and what became of them."""

import sys

import llama_cpp.llama_cpp as llama_cpp


@llama_cpp.llama_progress_callback
def watch(progress: float, _: object) -> bool:
    if progress == 1.0:
        print("loaded to the end")
    return True


def model_params() -> llama_cpp.llama_model_params:
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = 0
    params.use_mmap = False
    params.progress_callback = watch
    return params


def context_params() -> llama_cpp.llama_context_params:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = 1024
    params.n_batch = 256
    params.n_ubatch = 128
    params.n_threads = params.n_threads_batch = 1
    return params


def main(path: str) -> None:
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(path.encode(), model_params())
    context = llama_cpp.llama_new_context_with_model(model, context_params())
    for name in ("n_ctx", "n_batch", "n_ubatch", "n_threads"):
        print(name, getattr(llama_cpp, f"llama_{name}")(context))
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    llama_cpp.llama_backend_free()


main(sys.argv[1])
