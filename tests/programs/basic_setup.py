"""The first use of the low-level API: from a file to a context, and back to nothing."""

import ctypes
import sys

import llama_cpp.llama_cpp as llama_cpp


def describe(model: int, context: int) -> None:
    print("tokens in the context:", llama_cpp.llama_n_ctx(context))
    print("numbers in an embedding:", llama_cpp.llama_n_embd(model))
    text = ctypes.create_string_buffer(128)
    llama_cpp.llama_model_desc(model, text, len(text))
    print("model:", text.value.decode())


def main(path: str) -> None:
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    if not model:
        raise SystemExit("no model")
    context = llama_cpp.llama_new_context_with_model(model, llama_cpp.llama_context_default_params())
    if not context:
        raise SystemExit("no context")
    describe(model, context)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    llama_cpp.llama_backend_free()
    print("all is freed")


main(sys.argv[1])
