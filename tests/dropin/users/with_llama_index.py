"""llama-index: a completion, and a stream of it."""

import json
import sys

from llama_index.llms.llama_cpp import LlamaCPP

model = LlamaCPP(
    model_path=sys.argv[1],
    temperature=0.0,
    max_new_tokens=4,
    context_window=256,
    model_kwargs={"n_threads": 1},
    completion_to_prompt=str,
    messages_to_prompt=str,
    verbose=False,
)
prompt = "The capital of France is"
told = {"city": model.complete(prompt).text, "pieces": [piece.delta for piece in model.stream_complete(prompt)]}
print(json.dumps(told))
