"""Make the library ready, send its log to `logging`, and learn why something failed."""

import logging
import sys

import llamacffi
from llamacffi import llama_cpp as llama

logging.basicConfig(stream=sys.stdout, level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
llamacffi.log_to("llama.cpp")  # a logger's name; without this line the log goes to stderr

llama.llama_backend_init()
print("files can be mapped into memory:", llama.llama_supports_mmap())
print("devices at most:", llama.llama_max_devices())

started = llama.llama_time_us()
model = llama.llama_model_load_from_file("missing.gguf", llama.llama_model_default_params())
print("model:", model)
print("first reason:", llamacffi.last_error().splitlines()[0])
print("that took some microseconds:", llama.llama_time_us() > started)

llama.llama_backend_free()
