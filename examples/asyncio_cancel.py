"""Write two texts in asyncio tasks, one of which is cancelled: python examples/asyncio_cancel.py [MODEL]

A decode runs in a thread (asyncio.to_thread), so the event loop goes on. A task that is cancelled, by a timeout or by
whoever waits for it, ends its decode by llamacffi.cancel and leaves a context that can be used again.
"""

import asyncio
import contextlib
import os
import sys

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama


async def decode(ctx, tokens):
    """Decode in a thread. When the task is cancelled, the decode is ended, and waited for, before that goes on."""
    batch = llama.llama_batch_get_one(tokens, len(tokens))
    computing = asyncio.ensure_future(asyncio.to_thread(llama.llama_decode, ctx, batch))
    try:
        status = await asyncio.shield(computing)
    except asyncio.CancelledError:
        while not computing.done():  # a decode that has not begun is not cancelled yet
            llamacffi.cancel(ctx)
            with contextlib.suppress(asyncio.CancelledError):  # once more: it still has to be waited for
                await asyncio.wait([computing], timeout=0.01)
        raise
    if status != 0:
        raise RuntimeError(f"llama_decode gave {status}: {llamacffi.last_error()}")


async def write(model, prompt, count):
    """Return the prompt and `count` tokens more."""
    vocab = llama.llama_model_get_vocab(model)
    params = llama.llama_context_default_params()
    params.n_ctx = params.n_batch = 2048
    ctx, sampler = llama.llama_init_from_model(model, params), llama.llama_sampler_init_greedy()
    try:
        tokens = np.empty(len(prompt) + 2, np.int32)
        tokens = tokens[: llama.llama_tokenize(vocab, prompt, len(prompt), tokens, len(tokens), True, False)]
        written, piece = prompt, bytearray(64)
        for _ in range(count):
            await decode(ctx, tokens)
            tokens = np.array([llama.llama_sampler_sample(sampler, ctx, -1)], np.int32)
            written += piece[: llama.llama_token_to_piece(vocab, tokens[0], piece, len(piece), 0, False)]
        return written.decode(errors="replace")
    finally:  # no thread is in the context any more
        llama.llama_sampler_free(sampler)
        llama.llama_free(ctx)


async def main():
    llamacffi.log_to("llama.cpp")
    path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
    model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())

    short = asyncio.create_task(write(model, b"One, two, three, four,", 4))
    long = asyncio.create_task(write(model, b"word " * 1000, 1000))
    print(await short)
    long.cancel()
    try:
        await long
    except asyncio.CancelledError:
        print("the long one was cancelled")
    print(await write(model, b"The capital of France is", 2))

    llama.llama_model_free(model)


asyncio.run(main())
