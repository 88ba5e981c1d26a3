"""lm-format-enforcer: a logits processor that reads the whole vocabulary, token by token."""

import json
import sys

from llama_cpp import Llama, LogitsProcessorList
from lmformatenforcer import RegexParser
from lmformatenforcer.integrations.llamacpp import build_llamacpp_logits_processor

llama = Llama(sys.argv[1], n_ctx=256, n_threads=1, verbose=False)
processors = LogitsProcessorList([build_llamacpp_logits_processor(llama, RegexParser(r"[0-9]{3}"))])
made = llama("A number: ", logits_processor=processors, max_tokens=8, temperature=0)
print(json.dumps({"number": made["choices"][0]["text"]}))
