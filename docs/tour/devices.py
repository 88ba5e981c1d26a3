"""See what there is to compute with, and choose."""

import os
import sys

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

llamacffi.log_to("llama.cpp")
kinds = {getattr(llama, name): name for name in dir(llama) if name.startswith("GGML_BACKEND_DEVICE_TYPE_")}

for index in range(llama.ggml_backend_dev_count()):
    device = llama.ggml_backend_dev_get(index)
    props = llama.ggml_backend_dev_props()
    llama.ggml_backend_dev_get_props(device, props)
    print(f"{props.name.decode()}: {props.description.decode()}, {kinds[props.type]}")
    print(f"  {props.memory_total / 2**30:.1f} GiB of memory")

print("usable CPUs:", llamacffi.usable_cpus())
print("engine:", llamacffi.build_info().engine)

# A model may be told which GPUs to use: an array that ends with None. One that has nothing else leaves it to the CPU.
params = llama.llama_model_default_params()
params.devices = (llama.ggml_backend_dev_t * 1)(None)
path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
model = llama.llama_model_load_from_file(path, params)
print("loaded without GPUs:", bool(model))
llama.llama_model_free(model)
