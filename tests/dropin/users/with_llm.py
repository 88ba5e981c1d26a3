"""llm, by its plugin llm-gguf: a model that is registered by its path."""

import json
import os
import subprocess
import sys
import tempfile

os.environ["LLM_USER_PATH"] = tempfile.mkdtemp()
register = ["gguf", "register-model", "tried", sys.argv[1]]
subprocess.run([sys.executable, "-m", "llm", *register], check=True, stdout=subprocess.DEVNULL)

import llm  # noqa: E402  (which reads the folder when it is imported)

answer = llm.get_model("gguf/tried").prompt("What is the capital of France?").text()
print(json.dumps({"answer": answer}))
