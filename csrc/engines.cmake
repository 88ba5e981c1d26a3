# An add-on engine is the whole extension with one backend more, whose driver not every machine has (add_ons/setup.py).
# CMAKE_ARGS may put any backend into the engine `cpu` as well, which then loads only where that one's libraries are.
set(LLAMACFFI_ENGINE cpu CACHE STRING "What is built: cpu, or an add-on: cuda13, vulkan")

set(engine_definitions LLAMACFFI_ENGINE="${LLAMACFFI_ENGINE}")
if(LLAMACFFI_ENGINE STREQUAL "vulkan")
  set(GGML_VULKAN ON)
  list(APPEND engine_definitions LLAMACFFI_REGISTRY=ggml_backend_vk_reg)
elseif(LLAMACFFI_ENGINE STREQUAL "cuda13")
  set(GGML_CUDA ON)
  # Nobody asks for devices when the extension loads: a process that forks after that could not use them.
  list(APPEND engine_definitions LLAMACFFI_DRIVER="$<IF:$<PLATFORM_ID:Windows>,nvcuda.dll,libcuda.so.1>")
  # Where the packages of the toolkit's libraries put them, which are required.
  set(CMAKE_BUILD_RPATH "$ORIGIN/../nvidia/cu13/lib")
elseif(NOT LLAMACFFI_ENGINE STREQUAL "cpu")
  message(FATAL_ERROR "llamacffi: LLAMACFFI_ENGINE should be cpu, cuda13 or vulkan, not '${LLAMACFFI_ENGINE}'")
endif()
