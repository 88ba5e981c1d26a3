"""What llama-cpp-python does with images and sound on tiny models, as facts that two engines can be compared by.

A program: `media.py FOLDER` finds in the folder the model `tiny.gguf`, the projectors `KIND.gguf` and the files
`image.…` and `sound.wav`, and prints one line of JSON for each scenario, as scenarios.py does.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp import llama_chat_format, mtmd_cpp
from llama_cpp import llama_cpp as low_level

FOLDER = Path(sys.argv[1])
PROMPT = b"a <__media__> b"
IMAGES = ("image.png", "image.bmp", "image.jpeg")
HANDLERS = {
    "Llava15ChatHandler": "mlp",
    "Llava16ChatHandler": "mlp",
    "NanoLlavaChatHandler": "mlp",
    "ObsidianChatHandler": "mlp",
    "MoondreamChatHandler": "mlp",
    "Llama3VisionAlphaChatHandler": "mlp",
    "MiniCPMv26ChatHandler": "mlp",
    "Qwen25VLChatHandler": "mlp",
    "Gemma4ChatHandler": "gemma3",
}


def made(**options: Any) -> Any:
    given = {"n_ctx": 1024, "n_threads": 1, "n_threads_batch": 1, "seed": 7, "verbose": False, **options}
    return llama_cpp.Llama(str(FOLDER / "tiny.gguf"), **given)


def projector(llama: Any, kind: str) -> Any:
    params = mtmd_cpp.mtmd_context_params_default()
    params.n_threads = 1
    params.print_timings = False
    return mtmd_cpp.mtmd_init_from_file(str(FOLDER / f"{kind}.gguf").encode(), llama.model, params)


def floats(pointer: Any, count: int) -> dict[str, Any]:
    array = np.ctypeslib.as_array(pointer, (count,))
    return {"hash": hashlib.sha256(array.tobytes()).hexdigest(), "first": [float(value) for value in array[:4]]}


def bitmap(ctx: Any, name: str) -> Any:
    data = (FOLDER / name).read_bytes()
    buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
    return mtmd_cpp.mtmd_helper_bitmap_init_from_buf(ctx, buffer, len(data), False)


def of_bitmap(made: Any) -> Any:
    size = mtmd_cpp.mtmd_bitmap_get_n_bytes(made)
    data = bytes(mtmd_cpp.mtmd_bitmap_get_data(made)[:size])
    shape = [mtmd_cpp.mtmd_bitmap_get_nx(made), mtmd_cpp.mtmd_bitmap_get_ny(made)]
    name = mtmd_cpp.mtmd_bitmap_get_id(made).decode()
    return [shape, mtmd_cpp.mtmd_bitmap_is_audio(made), name, hashlib.sha256(data).hexdigest()]


def tokenized(ctx: Any, bitmaps: list[Any], prompt: bytes) -> Any:
    text = mtmd_cpp.mtmd_input_text(text=prompt, text_len=len(prompt), add_special=True, parse_special=True)
    chunks = mtmd_cpp.mtmd_input_chunks_init()
    array = (mtmd_cpp.mtmd_bitmap_p_ctypes * len(bitmaps))(*bitmaps)
    status = mtmd_cpp.mtmd_tokenize(ctx, chunks, ctypes.byref(text), array, len(bitmaps))
    assert status == 0, status
    return chunks


def of_chunk(chunk: Any) -> Any:
    count = ctypes.c_size_t()
    tokens = mtmd_cpp.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
    name = mtmd_cpp.mtmd_input_chunk_get_id(chunk)
    return [
        mtmd_cpp.mtmd_input_chunk_get_type(chunk),
        [tokens[i] for i in range(count.value)],
        [mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk), mtmd_cpp.mtmd_input_chunk_get_n_pos(chunk)],
        name.decode() if name else None,
    ]


def encoded(llama: Any, ctx: Any, chunk: Any) -> Any:
    assert mtmd_cpp.mtmd_encode_chunk(ctx, chunk) == 0
    width = low_level.llama_model_n_embd_inp(llama.model)
    return floats(mtmd_cpp.mtmd_get_output_embd(ctx), width * mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk))


def evaluated(llama: Any, ctx: Any, chunks: Any) -> Any:
    past = ctypes.c_int32()
    llama._ctx.kv_cache_clear()
    status = mtmd_cpp.mtmd_helper_eval_chunks(
        ctx, llama._ctx.ctx, chunks, 0, 0, llama.n_batch, True, ctypes.byref(past)
    )
    return [status, past.value, floats(low_level.llama_get_logits_ith(llama.ctx, -1), llama.n_vocab())]


def whole(kind: str, files: tuple[str, ...]) -> Any:
    """A file in, tokens and logits out."""
    llama = made()
    ctx = projector(llama, kind)
    facts = [
        mtmd_cpp.mtmd_support_vision(ctx),
        mtmd_cpp.mtmd_support_audio(ctx),
        mtmd_cpp.mtmd_get_audio_sample_rate(ctx),
    ]
    for name in files:
        picture = bitmap(ctx, name)
        chunks = tokenized(ctx, [picture], PROMPT)
        all_chunks = [mtmd_cpp.mtmd_input_chunks_get(chunks, i) for i in range(mtmd_cpp.mtmd_input_chunks_size(chunks))]
        media = [one for one in all_chunks if mtmd_cpp.mtmd_input_chunk_get_type(one)]
        facts += [name, of_bitmap(picture), [of_chunk(one) for one in all_chunks]]
        facts += [[encoded(llama, ctx, one) for one in media], evaluated(llama, ctx, chunks)]
        mtmd_cpp.mtmd_input_chunks_free(chunks)
        mtmd_cpp.mtmd_bitmap_free(picture)
    mtmd_cpp.mtmd_free(ctx)
    llama.close()
    return facts


def chat(name: str) -> Any:
    """A handler of llama-cpp-python's, unmodified, on an image in the message."""
    handler = getattr(llama_chat_format, name)(str(FOLDER / f"{HANDLERS[name]}.gguf"), verbose=False)
    url = "data:image/png;base64," + base64.b64encode((FOLDER / "image.png").read_bytes()).decode()
    content = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    llama = made(chat_handler=handler)
    answer = llama.create_chat_completion([{"role": "user", "content": content}], max_tokens=8, temperature=0.0)
    llama.close()
    return [answer["choices"], answer["usage"]]


SCENARIOS: dict[str, Callable[[], Any]] = {
    "mlp": lambda: whole("mlp", IMAGES),
    "gemma3": lambda: whole("gemma3", IMAGES),
    "ultravox": lambda: whole("ultravox", ("sound.wav",)),
    **{name: lambda name=name: chat(name) for name in HANDLERS},  # type: ignore[misc]
}


def run(names: list[str]) -> Iterator[str]:
    for name in names or SCENARIOS:
        yield json.dumps({"scenario": name, "facts": SCENARIOS[name]()}, default=float)


if __name__ == "__main__":
    for line in run(sys.argv[2:]):
        print(line, flush=True)
