"""What a careful program does with files that may be no models, and with parameters that don't fit."""

import pathlib
import sys
import tempfile

import llama_cpp.llama_cpp as llama_cpp


def try_model(path: pathlib.Path) -> str:
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    if not model:
        return "refused"
    verdict = try_context(model)
    llama_cpp.llama_model_free(model)
    return verdict


def try_context(model: int) -> str:
    params = llama_cpp.llama_context_default_params()
    params.n_batch = params.n_ubatch = 0
    if llama_cpp.llama_new_context_with_model(model, params) is not None:
        return "a context without batches"
    context = llama_cpp.llama_new_context_with_model(model, llama_cpp.llama_context_default_params())
    llama_cpp.llama_free(context)
    return "ready"


def main(good: pathlib.Path) -> None:
    llama_cpp.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        text = pathlib.Path(folder, "text.gguf")
        text.write_text("This is no model. " * 200)
        cut = pathlib.Path(folder, "cut.gguf")
        cut.write_bytes(good.read_bytes()[:100_000])
        for name, path in {"missing": pathlib.Path(folder, "none"), "text": text, "cut": cut, "good": good}.items():
            print(f"{name}: {try_model(path)}")
    llama_cpp.llama_backend_free()


main(pathlib.Path(sys.argv[1]))
