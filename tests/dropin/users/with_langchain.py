"""langchain-community: a chain, a stream and embeddings over `llama_cpp.Llama`."""

import json
import sys

from langchain_community.embeddings import LlamaCppEmbeddings
from langchain_community.llms import LlamaCpp
from langchain_core.prompts import PromptTemplate

model = LlamaCpp(model_path=sys.argv[1], n_ctx=256, n_threads=1, temperature=0.0, max_tokens=6, verbose=False)
chain = PromptTemplate.from_template("The capital of {country} is") | model
vectors = LlamaCppEmbeddings(model_path=sys.argv[1], n_ctx=64, n_threads=1, verbose=False)
told = {
    "city": chain.invoke({"country": "France"}),
    "pieces": list(model.stream("One, two, three,")),
    "vector": vectors.embed_query("hello"),
}
print(json.dumps(told))
