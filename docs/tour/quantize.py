"""Make a smaller file of a model."""

import os
import sys
import tempfile

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

llamacffi.log_to("llama.cpp")
path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())

params = llama.llama_model_quantize_default_params()
params.ftype = llama.LLAMA_FTYPE_MOSTLY_Q4_0
params.allow_requantize = True  # the demo's model is quantized already; from F16 or F32 this is not needed
params.output_tensor_type = llama.GGML_TYPE_Q4_0
params.nthread = llamacffi.usable_cpus()

with tempfile.TemporaryDirectory() as folder:
    smaller = f"{folder}/smaller.gguf"
    print("quantized:", llama.llama_model_quantize(path, smaller, params))  # 0 is success
    for file in (path, smaller):
        model = llama.llama_model_load_from_file(file, llama.llama_model_default_params())
        description = bytearray(128)
        length = llama.llama_model_desc(model, description, len(description))
        bits = 8 * llama.llama_model_size(model) / llama.llama_model_n_params(model)
        print(f"  {description[:length].decode()}: {bits:.1f} bits a parameter")
        llama.llama_model_free(model)
