"""guidance: low-level calls for decoding, and the address of `llama_tokenize`, for its tokenizer in Rust."""

import json
import sys

from guidance import gen, models, select

model = models.LlamaCpp(sys.argv[1], n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False, echo=False)
city = model + "The capital of France is" + gen("city", max_tokens=3, temperature=0)
answer = model + "Is the sky blue? " + select(["yes", "no"], name="answer")
number = model + "A number: " + gen("number", regex=r"\d{3}", temperature=0)
print(json.dumps({"city": city["city"], "answer": answer["answer"], "number": number["number"]}))
