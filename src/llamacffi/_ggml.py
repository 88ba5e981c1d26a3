"""What llama-cpp-python's `_ggml` has: `libggml`, here the library that `llamacffi.llama_cpp._lib` is."""

from __future__ import annotations

import pathlib

from llamacffi import llama_cpp

libggml = llama_cpp._lib
libggml_base_path = pathlib.Path(__file__).resolve().parent
