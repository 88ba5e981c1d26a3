"""llama-cpp-agent: an agent that answers."""

import json
import sys

from llama_cpp import Llama
from llama_cpp_agent import LlamaCppAgent, MessagesFormatterType
from llama_cpp_agent.providers import LlamaCppPythonProvider

llama = Llama(sys.argv[1], n_ctx=512, n_threads=1, verbose=False)
provider = LlamaCppPythonProvider(llama)
agent = LlamaCppAgent(provider, predefined_messages_formatter_type=MessagesFormatterType.CHATML)
settings = provider.get_provider_default_settings()
settings.max_tokens, settings.temperature = 12, 0.0
answer = agent.get_chat_response("What is the capital of France?", llm_sampling_settings=settings, print_output=False)
print(json.dumps({"answer": answer}))
