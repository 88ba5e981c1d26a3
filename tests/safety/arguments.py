"""An argument that is good for each C type of the headers, or at least not what a test is about."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

from llamacffi import ctypes_types, ffi, lib
from llamacffi import llama_cpp as llama
from support.media import batch_of, chunks_of, image_chunk, media_of, picture, video_of, voice_of
from support.objects import adapter_of, chain_of, pool_of

MANY = 1000  # items of an array

# How a test gets a live handle of each kind, by a model and a context of it.
LIVE: dict[str, Callable[[Any, Any], Any]] = {
    "llama_model": lambda model, ctx: model,
    "llama_context": lambda model, ctx: ctx,
    "llama_vocab": lambda model, ctx: llama.llama_model_get_vocab(model),
    "llama_memory_i": lambda model, ctx: llama.llama_get_memory(ctx),
    "llama_sampler": lambda model, ctx: llama.llama_sampler_init_top_k(3),
    "llama_batch_ext": lambda model, ctx: llama.llama_batch_ext_init(ctx),
    "llama_adapter_lora": lambda model, ctx: adapter_of(model),
    "gguf_context": lambda model, ctx: llama.gguf_init_empty(),
    "ggml_threadpool": lambda model, ctx: pool_of(1),
    "mtmd_context": lambda model, ctx: media_of(model),
    "mtmd_bitmap": lambda model, ctx: picture(),
    "mtmd_input_chunks": lambda model, ctx: chunks_of(media_of(model), picture()),
    "mtmd_input_chunk": lambda model, ctx: llama.mtmd_input_chunk_copy(image_chunk(media_of(model))),
    "mtmd_batch": lambda model, ctx: batch_of(media_of(model)),
    "mtmd_helper_video": lambda model, ctx: video_of(media_of(model)),
    "mtmd_helper_gen_audio": lambda model, ctx: voice_of(ctx, media_of(model)),
}

# Live handles that C makes without any other.
ALONE: dict[str, Callable[[], Any]] = {
    "struct ggml_backend *": lambda: llama.ggml_backend_cpu_init(),
    "struct ggml_backend_device *": lambda: llama.ggml_backend_dev_by_type(llama.GGML_BACKEND_DEVICE_TYPE_CPU),
    "struct ggml_opt_dataset *": lambda: llama.ggml_opt_dataset_init(0, 0, 4, 1, 8, 2),
    "struct ggml_opt_result *": lambda: llama.ggml_opt_result_init(),
}

SOMEWHERE = ctypes.create_string_buffer(4096)  # stands for a handle of a kind of which the table trusts any address

# What must not be zero in a struct.
NUMBERS = {"ggml_threadpool_params": {"n_threads": 1}, "ggml_opt_params": {"opt_period": 1}}
POINTERS = {
    "llama_opt_params": ("param_filter", "get_opt_pars"),
    "ggml_opt_params": ("backend_sched", "get_opt_pars"),
    "mtmd_context_params": ("media_marker",),
    "mtmd_input_text": ("text",),
    "mtmd_helper_gen_audio_inp": ("prompt",),
}

# The items that a parameter of this type points to.
ITEM: dict[str, Any] = {
    "char *": ctypes.c_char,
    "uint8_t *": ctypes.c_uint8,
    "int32_t *": ctypes.c_int32,
    "uint16_t *": ctypes.c_uint16,
    "float *": ctypes.c_float,
    "ggml_bf16_t *": llama.ggml_bf16_t,
    "void *": ctypes.c_uint8,
    "size_t *": ctypes.c_size_t,
    "double *": ctypes.c_double,
    "int64_t *": ctypes.c_int64,
    "uint8_t(*)[16]": ctypes.c_uint8,
    "struct ggml_backend * *": ctypes.c_void_p,
    "struct ggml_backend_buffer_type * *": ctypes.c_void_p,
    "struct ggml_backend_device * *": ctypes.c_void_p,
    "char * *": ctypes.c_char_p,
    "float * *": ctypes.c_void_p,
    "_Bool *": ctypes.c_bool,
    "unsigned char *": ctypes.c_ubyte,
    "struct mtmd_bitmap * *": ctypes.c_void_p,
    "struct mtmd_input_part * *": ctypes.c_void_p,
    "void * *": ctypes.c_void_p,
    "struct llama_adapter_lora * *": ctypes.c_void_p,
    "struct llama_chat_message *": llama.llama_chat_message,
    "struct llama_logit_bias *": llama.llama_logit_bias,
    "llama_logit_bias *": llama.llama_logit_bias,
    "void(* *)(enum ggml_log_level, char *, void *)": ctypes.c_void_p,
}


def types_of(function: str) -> tuple[Any, ...]:
    """Return cffi's types of a function's parameters."""
    return tuple(ffi.typeof(getattr(lib, function)).args)


def kind_of(ctype: Any) -> str | None:
    """Return the kind of handle that a parameter of this type is."""
    found = re.fullmatch(r"struct (\w+) (?:const )?\*", ctype.cname)
    return found[1] if found and found[1] in LIVE else None


def array_of(ctype: Any, count: int) -> Any:
    return (ITEM[ctype.cname] * count)()


def good(function: str, ctype: Any, model: Any, ctx: Any) -> Any:
    """Make an argument for a parameter of this type."""
    kind = kind_of(ctype)
    if kind == "llama_sampler" and function.startswith("llama_sampler_chain_"):
        return chain_of()
    if kind:
        return LIVE[kind](model, ctx)
    if ctype.cname in ITEM:
        return array_of(ctype, MANY)
    if ctype.kind == "function":
        return ffi.cast(ctype, ctypes.addressof(SOMEWHERE))
    return good_value(ctype)


def good_value(ctype: Any) -> Any:
    """Make an argument that is no array and no handle that a function made."""
    if ctype.cname in ALONE:
        return ALONE[ctype.cname]()
    if ctype.kind == "pointer":
        return filled(ctype.item) if has_fields(ctype.item) else ctypes.addressof(SOMEWHERE)
    if ctype.kind == "struct":
        return filled(ctype)
    return False if ctype.cname == "_Bool" else 1 if ctype.kind == "primitive" else 0


def has_fields(struct: Any) -> bool:
    try:
        return bool(ffi.sizeof(struct) > 0)
    except (TypeError, ffi.error):
        return False


def filled(ctype: Any) -> Any:
    """Make a struct, and set the fields that must not be zero."""
    name = ctype.cname.removeprefix("struct ")
    struct = ctypes_types.named(name)()
    for field, value in NUMBERS.get(name, {}).items():
        setattr(struct, field, value)
    for field in POINTERS.get(name, ()):
        place = ctypes.c_void_p.from_buffer(struct, getattr(type(struct), field).offset)
        place.value = ctypes.addressof(SOMEWHERE)
    return struct
