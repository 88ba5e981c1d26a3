"""nnzip: a text, compressed by the probabilities of each next token, and brought back."""

import json
import os
import sys

os.environ["NNZIP_MODEL_PATH"] = sys.argv[1]

import nnzip

TEXT = "The capital of France is Paris, and the capital of Germany is Berlin."
packed = nnzip.compress_text(TEXT, lang="en", verbose=False)
print(json.dumps({"packed": packed.hex(), "text": nnzip.decompress_bytes(packed, verbose=False)}))
