"""What this build of llama.cpp can do on this machine, without any model."""

import llama_cpp.llama_cpp as llama_cpp

for question in ("mmap", "mlock", "gpu_offload"):
    print(f"{question}: {getattr(llama_cpp, f'llama_supports_{question}')():d}")
print(f"devices: {llama_cpp.llama_max_devices()}")
print("features:", llama_cpp.llama_print_system_info().decode())

before = llama_cpp.llama_time_us()
total = sum(range(200_000))
print("time passes:", before < llama_cpp.llama_time_us())
