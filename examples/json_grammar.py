"""Make a model write JSON by a schema: python examples/json_grammar.py [MODEL]

A grammar is made of the schema. Whatever the model would like to say, what comes out can be parsed, and has the keys.
"""

import json
import os
import sys

import numpy as np

import llamacffi
from llamacffi import default_model, json_schema
from llamacffi import llama_cpp as llama

PROMPT = """Tom is a cook. He is 51 years old and lives in Rome.
{"name": "Tom", "job": "cook", "city": "Rome", "age": 51}

Anna is a nurse. She is 34 years old and lives in Lisbon.
"""
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "job": {"type": "string", "maxLength": 20},
        "city": {"type": "string", "maxLength": 20},
        "age": {"type": "integer"},
    },
    "required": ["name", "job", "city", "age"],
}


def generate(ctx, sampler, prompt, most=120):
    """Return what the sampler chooses until the grammar, or the model, has reached its end."""
    vocab = llama.llama_model_get_vocab(llama.llama_get_model(ctx))
    encoded = prompt.encode()
    tokens = np.empty(len(encoded) + 2, np.int32)
    tokens = tokens[: llama.llama_tokenize(vocab, encoded, len(encoded), tokens, len(tokens), True, False)]
    written, piece = b"", bytearray(64)
    for _ in range(most):
        llama.llama_decode(ctx, llama.llama_batch_get_one(tokens, len(tokens)))
        token = llama.llama_sampler_sample(sampler, ctx, -1)
        if llama.llama_vocab_is_eog(vocab, token):  # where the grammar ends, nothing else is left
            return written.decode()
        written += piece[: llama.llama_token_to_piece(vocab, token, piece, len(piece), 0, False)]
        tokens = np.array([token], np.int32)
    sys.exit(f"the text should have ended after {most} tokens, but it is {written!r}")


def main():
    llamacffi.log_to("llama.cpp")
    path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
    model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
    ctx = llama.llama_init_from_model(model, llama.llama_context_default_params())

    rules = json_schema.grammar(SCHEMA)
    grammar = llama.llama_sampler_init_grammar(llama.llama_model_get_vocab(model), rules, "root")
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    llama.llama_sampler_chain_add(chain, grammar)  # first what is allowed, then what of it is likeliest
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_greedy())

    person = json.loads(generate(ctx, chain, PROMPT))
    print(json.dumps(person))
    print(person["name"], "is", person["age"])

    llama.llama_sampler_free(chain)
    llama.llama_free(ctx)
    llama.llama_model_free(model)


main()
