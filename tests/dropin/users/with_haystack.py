"""haystack: a chat, by its component."""

import json
import sys

from haystack.dataclasses import ChatMessage
from haystack_integrations.components.generators.llama_cpp import LlamaCppChatGenerator

generator = LlamaCppChatGenerator(
    sys.argv[1], n_ctx=256, n_batch=64, generation_kwargs={"max_tokens": 12, "temperature": 0.0}
)
generator.warm_up()
replies = generator.run([ChatMessage.from_user("What is the capital of France?")])["replies"]
print(json.dumps({"answer": replies[0].text}))
