"""langextract, by its plugin langextract-llamacpp: what a prompt gives, as its scored outputs."""

import json
import sys

from langextract_llamacpp.provider import LlamaCppLanguageModel

options = {"max_tokens": 12, "temperature": 0.0}
model = LlamaCppLanguageModel(f"file:{sys.argv[1]}", n_ctx=256, n_threads=1, completion_kwargs=options)
outputs = [scored.output for batch in model.infer(["What is the capital of France?", "Say hello."]) for scored in batch]
print(json.dumps({"answer": outputs[0], "other": outputs[1]}))
