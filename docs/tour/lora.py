"""Write a small LoRA adapter with gguf's own functions, and let a context use it."""

import ctypes
import os
import sys
import tempfile

import numpy as np

import llamacffi
from llamacffi import default_model
from llamacffi import llama_cpp as llama

llamacffi.log_to("llama.cpp")
path = os.fsencode(sys.argv[1] if sys.argv[1:] else default_model.model_path())
model = llama.llama_model_load_from_file(path, llama.llama_model_default_params())
vocab = llama.llama_model_get_vocab(model)
width, rank = llama.llama_model_n_embd(model), 4


def write_adapter(file):
    """Write random numbers for the queries of layer 0: the product of two thin matrices is added to the weights."""
    arrays = np.random.default_rng(1)
    tensors = llama.ggml_init(llama.ggml_init_params(mem_size=1 << 20, mem_buffer=None, no_alloc=False))
    gguf = llama.gguf_init_empty()
    llama.gguf_set_val_str(gguf, "general.architecture", "llama")
    llama.gguf_set_val_str(gguf, "general.type", "adapter")
    llama.gguf_set_val_str(gguf, "adapter.type", "lora")
    llama.gguf_set_val_f32(gguf, "adapter.lora.alpha", 4.0)
    for half, rows, columns in (("lora_a", rank, width), ("lora_b", width, rank)):
        tensor = llama.ggml_new_tensor_2d(tensors, llama.GGML_TYPE_F32, columns, rows)
        llama.ggml_set_name(tensor, f"blk.0.attn_q.weight.{half}")
        values = arrays.normal(size=(rows, columns)).astype(np.float32)
        ctypes.memmove(llama.ggml_get_data(tensor), values.ctypes.data, values.nbytes)
        llama.gguf_add_tensor(gguf, tensor)
    llama.gguf_write_to_file(gguf, file, only_meta=False)
    llama.gguf_free(gguf)
    llama.ggml_free(tensors)


def logits(adapters, scales):
    """Return the logits behind a prompt, with these adapters."""
    ctx = llama.llama_init_from_model(model, llama.llama_context_default_params())
    llama.llama_set_adapters_lora(ctx, adapters, len(scales), scales)
    prompt = b"The capital of France is"
    tokens = np.empty(32, np.int32)
    n = llama.llama_tokenize(vocab, prompt, len(prompt), tokens, len(tokens), True, False)
    llama.llama_decode(ctx, llama.llama_batch_get_one(tokens, n))
    found = np.ctypeslib.as_array(llama.llama_get_logits_ith(ctx, -1), (llama.llama_vocab_n_tokens(vocab),)).copy()
    llama.llama_free(ctx)
    return found


with tempfile.TemporaryDirectory() as folder:
    file = f"{folder}/adapter.gguf"
    write_adapter(file)
    adapter = llama.llama_adapter_lora_init(model, file)

adapters = (llama.llama_adapter_lora_p_ctypes * 1)(adapter)
plain = logits(None, np.empty(0, np.float32))
for scale in (0.0, 0.5, 1.0):
    changed = np.abs(logits(adapters, np.array([scale], np.float32)) - plain).max()
    print(f"scale {scale}: the logits change:", bool(changed > 0.1))

llama.llama_adapter_lora_free(adapter)
llama.llama_model_free(model)
