"""Chat with a model, by its own template: python examples/chat.py [MODEL]

An empty line, or the end of the input, ends the chat. Only what is new is decoded: the context remembers the rest.
"""

import codecs
import os
import sys

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama


def formatted(model, messages, add_assistant):
    """Write the messages as the model was trained to read them."""
    chat = (llama.llama_chat_message * len(messages))(*messages)
    template = llama.llama_model_chat_template(model, None)
    buffer = bytearray(256 + 2 * sum(len(role) + len(content) for role, content in messages))
    length = llama.llama_chat_apply_template(template, chat, len(messages), add_assistant, buffer, len(buffer))
    if length < 0:
        sys.exit("the model has no chat template that llama.cpp knows")
    return bytes(buffer[:length])


def tokenize(vocab, text, add_special):
    tokens = np.empty(len(text) + 2, np.int32)
    return tokens[: llama.llama_tokenize(vocab, text, len(text), tokens, len(tokens), add_special, True)]


def answer(ctx, vocab, sampler, prompt):
    """Print the answer while it comes, and return it."""
    fresh = llama.llama_memory_seq_pos_max(llama.llama_get_memory(ctx), 0) < 0
    tokens = tokenize(vocab, prompt, fresh)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    piece, answered = bytearray(64), b""
    while llama.llama_decode(ctx, llama.llama_batch_get_one(tokens, len(tokens))) == 0:
        token = llama.llama_sampler_sample(sampler, ctx, -1)
        if llama.llama_vocab_is_eog(vocab, token):
            break
        part = bytes(piece[: llama.llama_token_to_piece(vocab, token, piece, len(piece), 0, False)])
        answered += part
        print(decoder.decode(part), end="", flush=True)
        tokens = np.array([token], np.int32)
    else:  # no room for another token
        print(f"\n[{llamacffi.last_error() or 'the context is full'}]", end="")
    print()
    return answered


def main():
    llamacffi.log_to("llama.cpp")
    path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
    model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
    if not model:
        sys.exit(f"{os.fsdecode(path)} could not be loaded: {llamacffi.last_error()}")
    params = llama.llama_context_default_params()
    params.n_ctx = params.n_batch = 4096
    ctx, vocab = llama.llama_init_from_model(model, params), llama.llama_model_get_vocab(model)
    sampler = llama.llama_sampler_init_greedy()

    messages, read = [(b"system", b"You are a helpful assistant. Answer in one short sentence.")], 0
    for line in iter(lambda: sys.stdin.readline().strip(), ""):
        messages.append((b"user", line.encode()))
        prompt = formatted(model, messages, add_assistant=True)
        messages.append((b"assistant", answer(ctx, vocab, sampler, prompt[read:])))
        read = len(prompt) + len(messages[-1][1])  # what ends the answer is decoded with the next question

    llama.llama_sampler_free(sampler)
    llama.llama_free(ctx)
    llama.llama_model_free(model)


main()
