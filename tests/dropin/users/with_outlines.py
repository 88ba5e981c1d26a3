"""outlines: structured texts by logits processors, which see NumPy views of llama.cpp's candidates."""

import json
import sys
from typing import Literal

import llama_cpp
import outlines

model = outlines.from_llamacpp(
    llama_cpp.Llama(sys.argv[1], n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False), chat_mode=False
)
told = {
    "answer": model("Is the sky blue?", Literal["yes", "no"], temperature=0),
    "number": model("A number:", outlines.types.Regex("[0-9]{3}"), temperature=0),
}
print(json.dumps(told))
