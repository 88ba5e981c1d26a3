"""Load a model from a GGUF file, and ask what it is."""

import os
import sys

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

llamacffi.log_to("llama.cpp")
path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())

params = llama.llama_model_default_params()
steps = []
params.progress_callback = llama.llama_progress_callback(lambda progress, _: steps.append(progress) or True)

model = llama.llama_model_load_from_file(path, params)
if not model:
    sys.exit(f"{path.decode()} could not be loaded: {llamacffi.last_error()}")
print(f"loaded, from {steps[0]:.0%} to {steps[-1]:.0%}")

buffer = bytearray(128)
length = llama.llama_model_desc(model, buffer, len(buffer))
print("description:", buffer[:length].decode())
print(f"parameters: {llama.llama_model_n_params(model):,}")
print("layers:", llama.llama_model_n_layer(model))
print("numbers in an embedding:", llama.llama_model_n_embd(model))
print(f"trained for {llama.llama_model_n_ctx_train(model):,} tokens")


def text_of(read, *arguments):
    """Read a text that C writes into the buffer; C answers with its length, or a negative number."""
    length = read(*arguments, buffer, len(buffer))
    return buffer[:length].decode() if length >= 0 else None


print("metadata:", llama.llama_model_meta_count(model), "pairs, such as")
for key in ("general.architecture", "general.name", "llama.rope.freq_base"):
    print(f"  {key} = {text_of(llama.llama_model_meta_val_str, model, key)}")
print("has a chat template:", llama.llama_model_chat_template(model, None) is not None)

llama.llama_model_free(model)
try:
    llama.llama_model_n_layer(model)
except llamacffi.LlamaValueError as error:
    print("after freeing:", error)
