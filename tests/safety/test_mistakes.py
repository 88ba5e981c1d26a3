"""Mistakes with more to them than one wrong handle or one short buffer, class by class: what each raises or returns.

First the 21 with which the design measured ctypes: there 12 kill the process and two are silently wrong. All cells run
in child processes, many in one; a cell that kills its child fails alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cell_runner
import pytest

VALUE, ASSERTION, ERROR = "LlamaValueError", "LlamaAssertionError", "LlamaError"
Cells = dict[str, tuple[str, str]]  # the code, and a regular expression for what becomes of it

THE_21: Cells = {
    "llama_n_ctx of NULL": ("L.llama_n_ctx(None)", rf"{VALUE} llama_n_ctx\(\): ctx .+ not NULL"),
    "use after free": ("L.llama_free(ctx)\nL.llama_n_ctx(ctx)", rf"{VALUE} .+ that llama_free\(\) has freed"),
    "a context freed twice": ("L.llama_free(ctx)\nL.llama_free(ctx)", rf"{VALUE} llama_free.+ has freed"),
    "a batch freed twice": (
        "batch = batch_of_one()\nL.llama_batch_free(batch)\nL.llama_batch_free(batch)",
        rf"{VALUE} llama_batch_free\(\): batch .+ freed already",
    ),
    "a model freed before its context": ("L.llama_model_free(model)\ndecode(ctx), L.llama_free(ctx)", "returned .0, N"),
    "a sampler freed after a chain took it": (
        "greedy = L.llama_sampler_init_greedy()\nchain = chain_of(greedy)\nL.llama_sampler_free(greedy)",
        rf"{VALUE} llama_sampler_free\(\): smpl .+ belongs to a sampler chain",
    ),
    "a token buffer shorter than n_tokens_max": (
        "L.llama_tokenize(vocab, b'the cat', 7, ints(0, 0), 64, True, True)",
        rf"{VALUE} llama_tokenize\(\): tokens .+ holds 2, where C may read or write 64 items",
    ),
    "n_tokens beyond the batch": (
        "batch = batch_of_one(4)\nbatch.n_tokens = 5\nL.llama_decode(ctx, batch)",
        rf"{VALUE} llama_decode\(\): batch .+ has n_tokens = 5, but holds 4",
    ),
    "sampling without logits": (
        "L.llama_sampler_sample(L.llama_sampler_init_greedy(), ctx, -1)",
        rf"{ASSERTION} llama_sampler_sample\(\): .+logits != nullptr",
    ),
    "a token id out of range": ("L.llama_vocab_get_text(vocab, 10**6)", r"Llama\w*Error llama_vocab_get_text.+1000000"),
    "a grammar pushed past its end": (
        "grammar = L.llama_sampler_init_grammar(vocab, b'root ::= \"a\"', b'root')\n"
        "L.llama_sampler_accept(grammar, tiny_model.BYTES + ord('a'))\n"
        "L.llama_sampler_accept(grammar, tiny_model.BYTES + ord('a'))",
        rf"{ERROR} llama_sampler_accept\(\): .+empty grammar stack",
    ),
    "a log callback that was collected": (
        "L.llama_log_set(L.llama_log_callback(lambda *given: None), None)\ngc.collect()\n"
        "found = load('/nonexistent')\nL.llama_log_set(L.llama_log_callback(lambda *given: None), None)\nfound",
        "returned None",
    ),
    "a model for a context": ("L.llama_n_ctx(model)", rf"{VALUE} llama_n_ctx\(\): ctx .+ not a llama_model"),
    "a state longer than its buffer": (
        "L.llama_state_get_data(ctx, bytearray(10), 10**6)",
        rf"{VALUE} llama_state_get_data\(\): dst .+ holds 10, where C may read or write 1000000 items",
    ),
    "a file that is not there": ("load('/nonexistent')", "returned None"),
    "a float for a number": (
        "L.llama_vocab_get_text(vocab, 1.5)",
        "TypeError llama_vocab_get_text.+ an integer, not f",
    ),
    "too few arguments": ("L.llama_tokenize(vocab, b'a')", r"TypeError llama_tokenize\(\) takes 7 arguments, not 2"),
    "another struct": (
        "L.llama_init_from_model(model, L.llama_model_default_params())",
        "TypeError llama_init_from_mod",
    ),
    "a token beyond the vocabulary": ("decode(ctx, (tiny_model.N_VOCAB,))", "returned -1"),
    "a number that does not fit": ("L.llama_vocab_get_text(vocab, 2**40)", rf"{VALUE} .+ cannot hold 1099511627776"),
    "an exception in a callback": (
        "L.llama_set_abort_callback(ctx, L.ggml_abort_callback(lambda data: 1 / 0), None)\ndecode(ctx)",
        "ZeroDivisionError division by zero",
    ),
}

OWNERS: Cells = {
    "a vocab after its model": (
        "L.llama_model_free(model)\nL.llama_vocab_n_tokens(vocab)",
        rf"{VALUE} .+ is a llama_vocab that llama_model_free\(\) has freed",
    ),
    "a memory after its context": (
        "memory = L.llama_get_memory(ctx)\nL.llama_free(ctx)\nL.llama_memory_clear(memory, True)",
        rf"{VALUE} .+ is a llama_memory_i that llama_free\(\) has freed",
    ),
    "an adapter after its model": (
        "adapter = L.llama_adapter_lora_init(model, adapter_path())\nL.llama_model_free(model)\n"
        "L.llama_adapter_lora_free(adapter)",
        rf"{VALUE} .+ is a llama_adapter_lora that llama_model_free\(\) has freed",
    ),
    "an adapter freed twice": (
        "adapter = L.llama_adapter_lora_init(model, adapter_path())\nL.llama_adapter_lora_free(adapter)\n"
        "L.llama_adapter_lora_free(adapter)",
        rf"{VALUE} llama_adapter_lora_free\(\): .+ has freed",
    ),
    "an adapter of another model": (
        "adapter = L.llama_adapter_lora_init(load(), adapter_path())\n"
        "L.llama_set_adapters_lora(ctx, (ctypes.c_void_p * 1)(adapter), 1, floats(1))",
        rf"{VALUE} llama_set_adapters_lora\(\): .+ an adapter of another model",
    ),
    "a freed adapter in an array": (
        "adapter = L.llama_adapter_lora_init(model, adapter_path())\nL.llama_adapter_lora_free(adapter)\n"
        "L.llama_set_adapters_lora(ctx, (ctypes.c_void_p * 1)(adapter), 1, floats(1))",
        rf"{VALUE} llama_set_adapters_lora\(\): .+ holds at 0 what is no live llama_adapter_lora",
    ),
    "an adapter that a context uses is freed": (
        "adapter = L.llama_adapter_lora_init(model, adapter_path())\n"
        "L.llama_set_adapters_lora(ctx, (ctypes.c_void_p * 1)(adapter), 1, floats(1))\n"
        "L.llama_adapter_lora_free(adapter)\ndecode(ctx)",
        rf"returned 0|{VALUE} llama_adapter_lora_free",
    ),
    "a model freed twice": ("L.llama_model_free(model)\nL.llama_model_free(model)", rf"{VALUE} .+ has freed"),
    "a model freed twice by two names": ("L.llama_free_model(model)\nL.llama_model_free(model)", rf"{VALUE} .+ has f"),
    "a context of a freed model": (
        "L.llama_model_free(model)\nL.llama_init_from_model(model, L.llama_context_default_params())",
        rf"{VALUE} llama_init_from_model\(\): model .+ has freed",
    ),
    "a context's model after it was freed": (
        "L.llama_model_free(model)\nL.llama_model_n_embd(L.llama_get_model(ctx))",
        rf"{VALUE} llama_model_n_embd\(\): model .+ has freed",
    ),
    "freeing NULL": (
        "[getattr(L, name)(None) for name in ('llama_free', 'llama_model_free', 'llama_sampler_free')]",
        r"returned \[None, None, None\]",
    ),
    "a chain's sampler after the chain": (
        "greedy = L.llama_sampler_init_greedy()\nL.llama_sampler_free(chain_of(greedy))\nL.llama_sampler_name(greedy)",
        rf"{VALUE} .+ is a llama_sampler that llama_sampler_free\(\) has freed",
    ),
    "a chain in itself": (
        "chain = chain_of()\nL.llama_sampler_chain_add(chain, chain)",
        rf"{VALUE} .+ the chain itself",
    ),
    "a sampler in two chains": (
        "greedy = L.llama_sampler_init_greedy()\nchain_of(greedy)\nchain_of(greedy)",
        rf"{VALUE} llama_sampler_chain_add\(\): smpl .+ belongs to a sampler chain",
    ),
    "a sampler twice in a chain": (
        "greedy = L.llama_sampler_init_greedy()\nchain_of(greedy, greedy)",
        rf"{VALUE} llama_sampler_chain_add\(\): smpl .+ belongs to a sampler chain",
    ),
    "two chains in each other": (
        "one, two = chain_of(), chain_of()\nL.llama_sampler_chain_add(one, two)\nL.llama_sampler_chain_add(two, one)",
        rf"{VALUE} llama_sampler_chain_add\(\): smpl",
    ),
    "a sampler that was removed is the caller's": (
        "greedy = L.llama_sampler_init_greedy()\nchain = chain_of(greedy)\n"
        "L.llama_sampler_free(L.llama_sampler_chain_remove(chain, 0))\nL.llama_sampler_chain_n(chain)",
        "returned 0",
    ),
    "a sampler that chain_get gave": (
        "chain = chain_of(L.llama_sampler_init_greedy())\nL.llama_sampler_free(L.llama_sampler_chain_get(chain, 0))",
        rf"{VALUE} llama_sampler_free\(\): smpl .+ belongs to a sampler chain",
    ),
    "a sampler that a context uses": (
        "chain = chain_of(L.llama_sampler_init_greedy())\nL.llama_set_sampler(ctx, 0, chain)\n"
        "L.llama_sampler_free(chain)",
        rf"{VALUE} llama_sampler_free\(\): smpl",
    ),
    "a sampler that the context's params named": (
        "chain = chain_of(L.llama_sampler_init_greedy())\nconfig = (L.llama_sampler_seq_config * 1)()\n"
        "config[0].seq_id, config[0].sampler = 0, chain\n"
        "user = context_of(model, samplers=config, n_samplers=1)\nL.llama_sampler_free(chain)",
        rf"{VALUE} llama_sampler_free\(\): smpl",
    ),
    "a thread pool that a context uses": (
        "pool = pool_of(1)\nL.llama_attach_threadpool(ctx, pool, None)\nL.ggml_threadpool_free(pool)",
        rf"{VALUE} ggml_threadpool_free\(\): threadpool",
    ),
    "a thread pool that was detached": (
        "pool = pool_of(1)\nL.llama_attach_threadpool(ctx, pool, None)\nL.llama_detach_threadpool(ctx)\n"
        "L.ggml_threadpool_free(pool)",
        "returned None",
    ),
    "a batch_ext freed twice": (
        "batch = L.llama_batch_ext_init(ctx)\nL.llama_batch_ext_free(batch)\nL.llama_batch_ext_free(batch)",
        rf"{VALUE} llama_batch_ext_free\(\): batch .+ has freed",
    ),
    "another context's batch_ext": (
        "big = context_of(model, n_seq_max=64)\nbatch = L.llama_batch_ext_init(big)\n"
        "L.llama_batch_ext_add_token(batch, 60, 5)\nL.llama_process(ctx, 1, batch)",
        rf"returned -?\d|{VALUE} llama_process",
    ),
    "an address of the middle of a model": ("L.llama_model_n_embd(model + 8)", rf"{VALUE} .+ no call returned"),
    "a sampler as a number that no call returned": ("L.llama_sampler_name(8)", rf"{VALUE} llama_sampler_name"),
    "a freed model as a sampler": (
        "other = load()\nL.llama_model_free(other)\nL.llama_sampler_name(other)",
        rf"{VALUE} llama_sampler_name\(\): smpl",
    ),
    **{
        f"a freed sampler by {way}": (
            f"sampler = L.llama_sampler_init_top_k(3)\nseen = {way}\nL.llama_sampler_free(sampler)\n"
            "L.llama_sampler_name(seen)",
            rf"{VALUE} llama_sampler_name\(\): smpl .+ has freed",
        )
        for way in (
            "sampler",
            "sampler.contents",
            "byref(sampler.contents)",
            "ctypes.cast(sampler, ctypes.c_void_p)",
            "ctypes.cast(sampler, ctypes.c_void_p).value",
            "ctypes.cast(sampler, ctypes.POINTER(L.llama_sampler))",
            "ffi.cast('struct llama_sampler *', ctypes.cast(sampler, ctypes.c_void_p).value)",
        )
    },
    **{
        f"a freed context by {way}": (
            f"seen = {way}\nL.llama_free(ctx)\nL.llama_n_ctx(seen)",
            rf"{VALUE} llama_n_ctx\(\): ctx .+ has freed",
        )
        for way in (
            "ctypes.c_void_p(ctx)",
            "ctypes.cast(ctx, L.llama_context_p)",
            "ffi.cast('struct llama_context *', ctx)",
            "np.uint64(ctx).item()",
        )
    },
    "a freed context by the extension's own function": (
        "L.llama_free(ctx)\nlib.llama_n_ctx(ffi.cast('struct llama_context *', ctx))",
        rf"{VALUE} llama_n_ctx\(\): ctx .+ has freed",
    ),
    "a struct of the caller's own is a sampler": (
        "interface = L.llama_sampler_i(name=L.llama_sampler_i_name(lambda sampler: b'own'))\n"
        "own = L.llama_sampler(ctypes.pointer(interface), None)\n"
        "[L.llama_sampler_name(one) for one in (own, byref(own), ctypes.pointer(own))]",
        r"returned \[",
    ),
    "an index that frees its context": (
        "class Index:\n"
        "    def __index__(self):\n"
        "        L.llama_free(ctx)\n"
        "        return 0\n"
        "L.llama_get_logits_ith(ctx, Index())",
        rf"{VALUE} llama_get_logits_ith\(\): ctx .+ has freed",
    ),
    "an index that frees its sampler": (
        "sampler = L.llama_sampler_init_greedy()\n"
        "class Index:\n"
        "    def __index__(self):\n"
        "        L.llama_sampler_free(sampler)\n"
        "        return 0\n"
        "L.llama_sampler_accept(sampler, Index())",
        rf"{VALUE} llama_sampler_accept\(\): smpl .+ has freed",
    ),
}

BATCHES: Cells = {
    "more tokens than the array of get_one": (
        "batch = L.llama_batch_get_one(ints(1, 2, 3), 3)\nbatch.n_tokens = 4\nL.llama_decode(ctx, batch)",
        rf"{VALUE} llama_decode\(\): batch .+ has n_tokens = 4, but holds 3",
    ),
    "get_one's array was collected": (
        "batch = L.llama_batch_get_one(ints(*[5] * 100), 100)\ngc.collect()\nL.llama_decode(ctx, batch)",
        "returned 0",
    ),
    "get_one's batch is not to be freed": (
        "L.llama_batch_free(L.llama_batch_get_one(ints(1), 1))",
        rf"{VALUE} llama_batch_free\(\): batch .+ not made by llama_batch_init",
    ),
    "a copy of a freed batch": (
        "batch = batch_of_one()\ncopy = L.llama_batch.from_buffer_copy(batch)\nL.llama_batch_free(batch)\n"
        "L.llama_batch_free(copy)",
        rf"{VALUE} llama_batch_free\(\): batch .+ freed already",
    ),
    "decoding a freed batch": (
        "batch = batch_of_one()\nL.llama_batch_free(batch)\nL.llama_decode(ctx, batch)",
        rf"{VALUE} llama_decode\(\): batch",
    ),
    "neither tokens nor embeddings": (
        "batch = batch_of_one()\nbatch.token = None\nL.llama_decode(ctx, batch)",
        rf"{VALUE} llama_decode\(\): batch .+ has neither token nor embd",
    ),
    "a batch without tokens": ("L.llama_decode(ctx, L.llama_batch_init(8, 0, 1))", "returned -1"),
    "a negative number of tokens": (
        "batch = batch_of_one()\nbatch.n_tokens = -3\nL.llama_decode(ctx, batch)",
        "returned -1",
    ),
    "a token has more sequences than there is room for": (
        "batch = batch_of_one()\nbatch.n_seq_id[0] = 10**6\nL.llama_decode(ctx, batch)",
        rf"{VALUE} llama_decode\(\): batch",
    ),
    "a token has a negative number of sequences": (
        "batch = batch_of_one()\nbatch.n_seq_id[0] = -5\nL.llama_decode(ctx, batch)",
        rf"{VALUE} llama_decode\(\): batch",
    ),
    "a token has no row of sequences": (
        "batch = batch_of_one()\nbatch.seq_id[0] = None\nL.llama_decode(ctx, batch)",
        rf"{VALUE} llama_decode\(\): batch",
    ),
    "a sequence that is too high": (
        "batch = batch_of_one()\nbatch.seq_id[0][0] = 10**6\nL.llama_decode(ctx, batch)",
        rf"returned -1|{VALUE} llama_decode\(\): batch",
    ),
    "a sequence that is too high, without positions": (
        "batch = batch_of_one()\nbatch.pos = None\nbatch.seq_id[0][0] = 10**6\nL.llama_decode(ctx, batch)",
        rf"{VALUE} llama_decode\(\): batch",
    ),
    "a negative sequence": (
        "batch = batch_of_one()\nbatch.seq_id[0][0] = -1\nL.llama_decode(ctx, batch)",
        rf"returned -1|{VALUE} llama_decode\(\): batch",
    ),
    "a negative position": (
        "batch = batch_of_one()\nbatch.pos[0] = -7\nL.llama_decode(ctx, batch)",
        rf"{VALUE} llama_decode\(\): batch .+ has at pos\[0\] -7",
    ),
    "the highest position": (
        "batch = batch_of_one()\nbatch.pos[0] = 2**31 - 1\nL.llama_decode(ctx, batch)",
        r"returned -?\d",
    ),
    "embeddings of another width": (
        "L.llama_decode(ctx, batch_of_one(embd=1))",
        rf"{VALUE} llama_decode\(\): batch",
    ),
    "embeddings of the model's width": ("L.llama_decode(ctx, batch_of_one(embd=32))", "returned 0"),
    "a batch of a negative size": ("L.llama_batch_init(-1, 0, 1)", rf"{VALUE} llama_batch_init\(\): .+ negative"),
    "a batch of negative sequences": ("L.llama_batch_init(1, 0, -1)", rf"{VALUE} llama_batch_init\(\): .+ negative"),
    "a batch larger than memory": ("L.llama_batch_init(2**31 - 1, 2**31 - 1, 1)", "MemoryError llama_batch_init"),
    "a list where C keeps the pointer": (
        "L.llama_batch_get_one([1, 2], 2)",
        r"TypeError llama_batch_get_one\(\): tokens",
    ),
    "more tokens than the context": ("decode(ctx, (5,) * 300)", rf"{ASSERTION} llama_decode\(\): .+n_batch|returned 1"),
    "encoding with a decoder": (
        "L.llama_encode(ctx, L.llama_batch_get_one(ints(1, 5), 2))",
        rf"{VALUE} llama_encode\(\)",
    ),
    "encoding a batch_ext with a decoder": (
        "batch = L.llama_batch_ext_init(ctx)\nL.llama_batch_ext_add_token(batch, 0, 5)\nL.llama_process(ctx, 0, batch)",
        rf"{VALUE} llama_process\(\)",
    ),
    "a batch_ext's indexes": (
        "batch = L.llama_batch_ext_init(ctx)\nL.llama_batch_ext_add_token(batch, 0, 5)\n"
        "[L.llama_batch_ext_set_output_logits(batch, i, True) for i in (-1, 1, 10**6, -(2**31))]",
        r"returned \[False, False, False, False\]",
    ),
    "a batch_ext's sequences": (
        "batch = L.llama_batch_ext_init(ctx)\n"
        "{L.llama_batch_ext_add_token(batch, seq, 5) for seq in (-1, 1, 10**6, -(2**31))}",
        r"returned \{-3\}",
    ),
    "a batch_ext's tokens": (
        "batch = L.llama_batch_ext_init(ctx)\n"
        "{L.llama_batch_ext_add_token(batch, 0, token) for token in (-1, 275, 10**6, -(2**31))}",
        r"returned \{-2\}",
    ),
    "a batch_ext without embeddings": (
        "batch = L.llama_batch_ext_init(ctx)\nL.llama_batch_ext_add_embd(batch, 0, L.llama_embd(None, 1, 32))",
        "returned -2",
    ),
    "a decode after what was refused": (
        "batch = batch_of_one(4)\nbatch.n_tokens = 5\n"
        "try: L.llama_decode(ctx, batch)\nexcept ValueError: pass\ndecode(ctx)",
        "returned 0",
    ),
}

INDEXES: Cells = {
    **{
        f"{function} of token {token}": (
            f"L.{function}(vocab, {token})",
            rf"Llama\w*Error {function}\(\)|returned (False|None)",
        )
        for function in (
            "llama_vocab_get_text",
            "llama_vocab_get_score",
            "llama_vocab_get_attr",
            "llama_vocab_is_control",
            "llama_vocab_is_eog",
            "llama_token_get_text",
            "llama_token_is_control",
        )
        for token in (-1, 275, 10**6, -(2**31))
    },
    **{
        f"{function} of {index}": (f"bool(L.{function}(ctx, {index}))", "returned False")
        for function in (
            "llama_get_logits_ith",
            "llama_get_embeddings_ith",
            "llama_get_embeddings_seq",
            "llama_get_sampled_probs_ith",
        )
        for index in (0, -1, 10**6, -(2**31))
    },
    "the piece of a token out of range": (
        "L.llama_token_to_piece(vocab, 10**6, bytearray(8), 8, 0, False)",
        r"Llama\w*Error llama_token_to_piece\(\)",
    ),
    "text of tokens out of range": (
        "L.llama_detokenize(vocab, ints(10**6), 1, bytearray(8), 8, False, False)",
        r"Llama\w*Error llama_detokenize\(\)",
    ),
    "metadata by index": (
        "[L.llama_model_meta_key_by_index(model, i, bytearray(8), 8) for i in (-1, 10**6, -(2**31))]",
        r"returned \[-1, -1, -1\]",
    ),
    "metadata values by index": (
        "[L.llama_model_meta_val_str_by_index(model, i, bytearray(8), 8) for i in (-1, 10**6, -(2**31))]",
        r"returned \[-1, -1, -1\]",
    ),
    "a chain's members": (
        "chain = chain_of(L.llama_sampler_init_greedy())\n"
        "[bool(L.llama_sampler_chain_get(chain, i)) for i in (1, 10**6, -(2**31))]",
        r"returned \[False, False, False\]",
    ),
    "a chain's members to remove": (
        "chain = chain_of(L.llama_sampler_init_greedy())\n"
        "[bool(L.llama_sampler_chain_remove(chain, i)) for i in (-1, 1, 10**6)]",
        r"returned \[False, False, False\]",
    ),
    "the label of a class": ("L.llama_model_cls_label(model, 10**6)", "returned None"),
    "a key of the metadata that is none": ("L.llama_model_meta_key_str(9999)", "returned None"),
    "a type of ggml that is none": ("L.ggml_type_size(9999)", rf"{VALUE} ggml_type_size\(\): type .+ no value 9999"),
    "an operation that is none": ("L.ggml_op_name(9999)", rf"{VALUE} ggml_op_name\(\): op .+ no value 9999"),
    "a key of a gguf that is none": (
        "gguf = L.gguf_init_empty()\nL.gguf_get_key(gguf, 5)",
        rf"({ASSERTION}|{VALUE}|{ERROR}) gguf_get_key\(\)",
    ),
    "a sequence's state": (
        "[L.llama_state_seq_get_size(ctx, i) for i in (256, 10**6, -(2**31))]",
        r"returned \[\d+, \d+, \d+\]",
    ),
    "a state for a sequence that is none": (
        "size = L.llama_state_seq_get_data(ctx, data := bytearray(10_000), 10_000, 0)\n"
        "L.llama_state_seq_set_data(ctx, bytes(data[:size]), size, 10**6)",
        rf"({ASSERTION}|{VALUE}) llama_state_seq_set_data\(\)|returned 0",
    ),
}

MEMORY: Cells = {
    **{
        f"llama_memory_seq_{name}{given}": (
            f"L.llama_memory_seq_{name}(L.llama_get_memory(ctx), *{given})",
            rf"({ASSERTION}|{VALUE}) llama_memory_seq_{name}\(\)",
        )
        for name, given in (
            ("rm", (10**6, 0, 1)),
            ("rm", (-5, 0, 1)),
            ("cp", (0, 10**6, -1, -1)),
            ("cp", (-1, 0, 0, 1)),
            ("keep", (-1,)),
            ("keep", (10**6,)),
            ("add", (-1, 0, 1, 1)),
            ("add", (10**6, 0, 1, 1)),
            ("div", (10**6, 0, 1, 2)),
            ("div", (0, 0, -1, 0)),
            ("pos_min", (-1,)),
            ("pos_min", (10**6,)),
            ("pos_max", (-1,)),
            ("pos_max", (10**6,)),
        )
    },
    "a position beyond what an int holds": (
        "decode(ctx)\nL.llama_memory_seq_add(L.llama_get_memory(ctx), 0, 0, -1, 2**31 - 1)\ndecode(ctx)",
        r"returned -?\d",
    ),
    "a cvec that is shorter than its width": (
        "L.llama_set_adapter_cvec(ctx, floats(10), 10, 10**6, 0, 1)",
        "returned -1",
    ),
    "a cvec for layers that are none": (
        "L.llama_set_adapter_cvec(ctx, floats(3200), 3200, 32, -100, 2**31 - 1)\ndecode(ctx)",
        "returned 0",
    ),
    "a state without a buffer": (
        "L.llama_copy_state_data(ctx, None)",
        rf"{VALUE} llama_copy_state_data\(\)",
    ),
    "a state out of nothing": ("L.llama_set_state_data(ctx, None)", rf"{VALUE} llama_set_state_data\(\)"),
    "a short buffer for a state without a length": (
        "L.llama_copy_state_data(ctx, bytearray(10))",
        rf"{VALUE} llama_copy_state_data\(\): dst is shorter",
    ),
    "a state of garbage": ("L.llama_state_set_data(ctx, bytes(64), 64)", "returned 0"),
    "a state cut off": (
        "decode(ctx)\nsize = L.llama_state_get_data(ctx, data := bytearray(10_000), 10_000)\n"
        "[L.llama_state_set_data(ctx, bytes(data[:n]), n) for n in range(0, size, 41)].count(0) > 0, decode(ctx)",
        r"returned \(True, -?\d\)",
    ),
}

SAMPLERS: Cells = {
    **{
        f"{name} on no candidates": (
            f"array = candidates(0)\nL.llama_sampler_apply(L.llama_sampler_init_{name}, byref(array))",
            rf"returned None|{ASSERTION} llama_sampler_apply\(\)|{VALUE} llama_sampler_apply\(\)",
        )
        for name in (
            "greedy()",
            "dist(1)",
            "top_k(5)",
            "top_p(0.5, 1)",
            "min_p(0.5, 1)",
            "typical(0.5, 1)",
            "temp(0.0)",
            "temp_ext(0.5, 0.5, 1.0)",
            "xtc(1.0, 0.0, 0, 1)",
            "top_n_sigma(1.0)",
            "mirostat(10, 1, 5.0, 0.1, 100)",
            "mirostat_v2(1, 5.0, 0.1)",
            "penalties(10, 64, 1.1, 0.5, 0.5)",
            "adaptive_p(0.5, 0.5, 1)",
            "infill(vocab)",
            "dry(vocab, 1.0, 1.75, 2, 64, None, 0)",
        )
    },
    "no array": (
        "L.llama_sampler_apply(L.llama_sampler_init_greedy(), None)",
        rf"{VALUE} llama_sampler_apply\(\): cur_p",
    ),
    "an array without data": (
        "array = L.llama_token_data_array()\narray.size = 10\n"
        "L.llama_sampler_apply(L.llama_sampler_init_greedy(), byref(array))",
        rf"{VALUE} llama_sampler_apply\(\): cur_p",
    ),
    "an array that says it is longer than its data": (
        "array = candidates()\narray.size = 10**7\nL.llama_sampler_apply(L.llama_sampler_init_greedy(), byref(array))",
        rf"{VALUE} llama_sampler_apply\(\): cur_p",
    ),
    "a mirostat of another vocabulary": (
        "L.llama_sampler_apply(L.llama_sampler_init_mirostat(10**9, 1, 5.0, 0.1, 10**9), byref(candidates()))",
        "returned None",
    ),
    "a bias for tokens that are none": (
        "bias = (L.llama_logit_bias * 2)(L.llama_logit_bias(10**9, 1.0), L.llama_logit_bias(-5, 1.0))\n"
        "L.llama_sampler_apply(L.llama_sampler_init_logit_bias(10, 2, bias), byref(candidates()))",
        "returned None",
    ),
    "accepting tokens that are none": (
        "penalties = L.llama_sampler_init_penalties(10, 64, 1.1, 0.5, 0.5)\n"
        "[L.llama_sampler_accept(penalties, token) for token in (10**6, -1, 2**31 - 1, -(2**31))]",
        r"returned \[None, None, None, None\]",
    ),
    "a grammar that accepts tokens that are none": (
        "grammar = L.llama_sampler_init_grammar(vocab, b'root ::= \"a\"', b'root')\n"
        "L.llama_sampler_accept(grammar, -1)",
        r"Llama\w*Error llama_sampler_accept\(\)",
    ),
    "a grammar's candidates that are none": (
        "grammar = L.llama_sampler_init_grammar(vocab, b'root ::= \"a\"', b'root')\n"
        "array = candidates()\narray.data[2].id = 10**6\nL.llama_sampler_apply(grammar, byref(array))",
        r"Llama\w*Error llama_sampler_apply\(\)",
    ),
    "what is no chain as a chain": (
        "L.llama_sampler_chain_n(L.llama_sampler_init_top_k(3))",
        rf"{VALUE} llama_sampler_chain_n\(\): chain",
    ),
    "adding to what is no chain": (
        "L.llama_sampler_chain_add(L.llama_sampler_init_top_k(3), L.llama_sampler_init_greedy())",
        rf"{VALUE} llama_sampler_chain_add\(\): chain",
    ),
    "removing from what is no chain": (
        "L.llama_sampler_chain_remove(L.llama_sampler_init_top_k(3), 0)",
        rf"{VALUE} llama_sampler_chain_remove\(\): chain",
    ),
    "the times of what is no chain": (
        "L.llama_perf_sampler(L.llama_sampler_init_top_k(3))",
        rf"({VALUE}|{ASSERTION}) llama_perf_sampler\(\)",
    ),
    "copying a sampler to one of another kind": (
        "L.llama_sampler_copy(L.llama_sampler_init_top_k(3), L.llama_sampler_init_greedy())",
        rf"({VALUE}|{ASSERTION}) llama_sampler_copy\(\)",
    ),
    "a sampler of the user's without functions": (
        "user_sampler()",
        rf"{VALUE} llama_sampler_init\(\): iface->apply must be set",
    ),
    "the name of a sampler without one": (
        "L.llama_sampler_name(user_sampler(apply=lambda sampler, array: None))",
        rf"returned|{VALUE} llama_sampler_name",
    ),
    "a sampler of the user's without an interface": (
        "sampler = L.llama_sampler_init(None, None)\nL.llama_sampler_accept(sampler, 1)",
        rf"{VALUE} llama_sampler_\w+\(\)|returned None",
    ),
    "a chain that chooses nothing": (
        "decode(ctx)\nL.llama_sampler_sample(chain_of(), ctx, -1)",
        rf"{ASSERTION} llama_sampler_sample\(\): .+cur_p.selected",
    ),
    "an output that is none": (
        "decode(ctx)\nL.llama_sampler_sample(L.llama_sampler_init_greedy(), ctx, 10**6)",
        rf"{ASSERTION} llama_sampler_sample\(\): .+invalid logits id 1000000",
    ),
}

TEXTS: Cells = {
    "a grammar that is nested too deeply": (
        "L.llama_sampler_init_grammar(vocab, b'root ::= ' + b'(' * 100_000, b'root')",
        rf"{VALUE} llama_sampler_init_grammar\(\): grammar_str",
    ),
    "a lazy grammar that is nested too deeply": (
        "L.llama_sampler_init_grammar_lazy(vocab, b'root ::= ' + b'(' * 100_000, b'root', None, 0, None, 0)",
        rf"{VALUE} llama_sampler_init_grammar_lazy\(\): grammar_str",
    ),
    "a grammar that begins with itself": (
        "bool(L.llama_sampler_init_grammar(vocab, b'root ::= root \"a\"', b'root'))",
        "returned False",
    ),
    "a grammar of many rules": (
        "rules = b''.join(b'r%d ::= r%d\\n' % (i, i + 1) for i in range(10_000))\n"
        "bool(L.llama_sampler_init_grammar(vocab, b'root ::= r0\\n' + rules + b'r10000 ::= \"a\"', b'root'))",
        "returned (True|False)",
    ),
    "a grammar of huge repetitions": (
        "bool(L.llama_sampler_init_grammar(vocab, b'root ::= (((\"a\"{1000}){1000}){1000}){1000}', b'root'))",
        "returned (True|False)",
    ),
    "a grammar without its root": (
        "bool(L.llama_sampler_init_grammar(vocab, b'other ::= \"a\"', b'root'))",
        "returned False",
    ),
    "a grammar whose root is NULL": (
        "L.llama_sampler_init_grammar(vocab, b'root ::= \"a\"', None)",
        rf"({ERROR}|{VALUE}) llama_sampler_init_grammar\(\)",
    ),
    "a trigger word that is NULL": (
        "L.llama_sampler_init_grammar_lazy(vocab, b'root ::= \"a\"', b'root', strings(None), 1, None, 0)",
        rf"{VALUE} llama_sampler_init_grammar_lazy\(\): trigger_words .+ holds NULL at 0",
    ),
    "a trigger pattern that is none": (
        "L.llama_sampler_init_grammar_lazy_patterns(vocab, b'root ::= \"a\"', b'root', strings(b'((('), 1, None, 0)",
        rf"({ERROR}|{VALUE}) llama_sampler_init_grammar_lazy_patterns\(\)",
    ),
    "a trigger pattern that is nested too deeply": (
        "pattern = b'(' * 100_000 + b'a' + b')' * 100_000\n"
        "L.llama_sampler_init_grammar_lazy_patterns(vocab, b'root ::= \"a\"', b'root', strings(pattern), 1, None, 0)",
        rf"{VALUE} llama_sampler_init_grammar_lazy_patterns\(\): the trigger patterns are longer",
    ),
    "a chat without messages": (
        "L.llama_chat_apply_template(b'chatml', None, 1, True, None, 0)",
        rf"{VALUE} llama_chat_apply_template\(\): chat .+ is NULL",
    ),
    "a message without a role": (
        "message = L.llama_chat_message(None, b'x')\n"
        "L.llama_chat_apply_template(b'chatml', byref(message), 1, True, None, 0)",
        rf"{VALUE} llama_chat_apply_template\(\): chat .+ holds NULL at 0",
    ),
    "a message without a content": (
        "message = L.llama_chat_message(b'user', None)\n"
        "L.llama_chat_apply_template(b'chatml', byref(message), 1, True, None, 0)",
        rf"{VALUE} llama_chat_apply_template\(\): chat .+ holds NULL at 0",
    ),
    "a chat template that is none": (
        "message = L.llama_chat_message(b'user', b'x')\n"
        "L.llama_chat_apply_template(b'{{ x' * 10_000, byref(message), 1, True, None, 0)",
        "returned -1",
    ),
    "a negative length of a text": (
        "L.llama_tokenize(vocab, b'abc', -1, None, 0, True, True)",
        rf"({ERROR}|{VALUE}) llama_tokenize\(\)",
    ),
    "the shortest length of a text": (
        "L.llama_tokenize(vocab, b'abc', -(2**31), None, 0, True, True)",
        rf"({ERROR}|{VALUE}) llama_tokenize\(\)",
    ),
    "a negative room for tokens": ("L.llama_tokenize(vocab, b'abc', 3, None, -5, True, True)", r"returned -\d"),
    "a negative room for text": (
        "L.llama_detokenize(vocab, ints(5), 1, bytearray(8), -5, False, False)",
        rf"({ASSERTION}|{VALUE}) llama_detokenize\(\)",
    ),
    "a str with NUL": ("L.llama_model_load_from_file('a\\0b', L.llama_model_default_params())", rf"{VALUE} .+ NUL"),
    "a str that is no UTF-8": ("L.llama_model_chat_template(model, '\\udc80')", rf"{VALUE} llama_model_chat_template"),
    "a path that is NULL": (
        "L.llama_model_load_from_file(None, L.llama_model_default_params())",
        rf"({ERROR}|{VALUE}) llama_model_load_from_file\(\)",
    ),
    "a key that is NULL": (
        "L.llama_model_meta_val_str(model, None, bytearray(8), 8)",
        rf"({ERROR}|{VALUE}) llama_model_meta_val_str\(\)",
    ),
    "a mode that is NULL": ("L.llama_load_mode_from_str(None)", rf"({ERROR}|{VALUE}) llama_load_mode_from_str\(\)"),
    "a split that is NULL": (
        "L.llama_model_load_from_splits(strings(None), 1, L.llama_model_default_params())",
        rf"({ERROR}|{VALUE}) llama_model_load_from_splits\(\)",
    ),
}

PARAMETERS: Cells = {
    **{
        f"{field} = {value}": (
            f"context_of(model, {field}={value})",
            rf"{VALUE} llama_init_from_model\(\)|returned None",
        )
        for field in ("type_k", "type_v")
        for value in (9999, -1, 31, 24, 28)
    },
    **{
        f"{field} = {value}": (
            f"made = context_of(model, {field}={value})\nmade and decode(made)",
            r"returned|Llama\w*Error llama_(init_from_model|decode)\(\)|MemoryError",
        )
        for field, value in (
            ("n_ctx", 1),
            ("n_batch", 0),
            ("n_batch", 2**32 - 1),
            ("n_ubatch", 0),
            ("n_seq_max", 0),
            ("n_seq_max", 2**32 - 1),
            ("n_rs_seq", 2**32 - 1),
            ("n_outputs_max", 2**32 - 1),
            ("n_threads", 0),
            ("n_threads", -1),
            ("rope_scaling_type", 99),
            ("pooling_type", 99),
            ("attention_type", 99),
            ("flash_attn_type", 99),
            ("ctx_type", 99),
            ("ctx_other", 8),
        )
    },
    "samplers that are NULL": ("context_of(model, n_samplers=5)", rf"{VALUE} llama_init_from_model\(\)|returned \d+"),
    "an address that is no context": ("context_of(model, ctx_other=8)", rf"{VALUE} llama_init_from_model\(\)|returned"),
    "a context that was freed": (
        "other = context_of(model)\nL.llama_free(other)\ncontext_of(model, ctx_other=other)",
        rf"{VALUE} llama_init_from_model\(\)|returned",
    ),
    "a pool of a negative number of threads": ("pool_of(-1)", rf"{VALUE} ggml_threadpool_new\(\)"),
    "a pool of a million threads": ("pool_of(10**6)", rf"{VALUE} ggml_threadpool_new\(\)"),
    "a file descriptor that is a model": (
        "L.llama_model_load_from_file_ptr(model, L.llama_model_default_params())",
        rf"{VALUE} llama_model_load_from_file_ptr\(\)",
    ),
    "quantizing without params": (
        "L.llama_model_quantize(TINY, TINY + '.q', None)",
        rf"{VALUE} llama_model_quantize\(\): params",
    ),
    "quantizing a file without a name": (
        "L.llama_model_quantize(b'', os.fsencode(TINY + '.q'), byref(L.llama_model_quantize_default_params()))",
        rf"{VALUE} llama_model_quantize\(\)|returned 1",
    ),
    "quantizing a file onto itself": (
        "copy = TINY + '.itself'\nPath(copy).write_bytes(Path(TINY).read_bytes())\n"
        "L.llama_model_quantize(copy, copy, byref(L.llama_model_quantize_default_params()))",
        rf"{VALUE} llama_model_quantize\(\)",
    ),
    "quantizing to a type that is none": (
        "params = L.llama_model_quantize_default_params()\nparams.token_embedding_type = -999\n"
        "L.llama_model_quantize(TINY, TINY + '.q', byref(params))",
        rf"{VALUE} llama_model_quantize\(\)",
    ),
    "a model made without the user's tensors": (
        "L.llama_model_init_from_user(L.gguf_init_empty(), None, None, L.llama_model_default_params())",
        rf"{VALUE} llama_model_init_from_user\(\)|returned None",
    ),
    "training without callbacks": (
        "L.llama_opt_init(ctx, model, L.llama_opt_params())",
        rf"{VALUE} llama_opt_init\(\)",
    ),
    "a processing that is none": (
        "L.llama_process(ctx, 99, L.llama_batch_ext_init(ctx))",
        rf"{VALUE} llama_process\(\)",
    ),
    "a flash attention that is none": ("L.llama_flash_attn_type_name(99)", rf"({ASSERTION}|{VALUE}) llama_flash_attn"),
    "decoding without tensors": (
        "only = load(vocab_only=True)\ndecode(context_of(only))",
        rf"({ASSERTION}|{VALUE}) llama_(decode|init_from_model)\(\)",
    ),
}

CALLBACKS: Cells = {
    "decoding inside of a decode": (
        "seen = []\n"
        "def again(data):\n"
        "    try: seen.append(decode(ctx))\n"
        "    except Exception as error: seen.append(str(error))\n"
        "    return False\n"
        "L.llama_set_abort_callback(ctx, L.ggml_abort_callback(again), None)\n"
        "(decode(ctx), bool(seen))",
        r"returned \(0, True\)|RecursionError|Llama\w*Error",
    ),
    "freeing the context inside of a decode": (
        "def free(data):\n"
        "    L.llama_free(ctx)\n"
        "    return False\n"
        "L.llama_set_abort_callback(ctx, L.ggml_abort_callback(free), None)\n"
        "decode(ctx)",
        rf"{ERROR} llama_free\(\): ctx",
    ),
    "freeing the chain inside of a sampler": (
        "chain = chain_of(user_sampler(apply=lambda sampler, array: L.llama_sampler_free(chain)))\n"
        "L.llama_sampler_apply(chain, byref(candidates()))",
        rf"{ERROR} llama_sampler_free\(\): smpl",
    ),
    "freeing a sampler inside of itself": (
        "sampler = user_sampler(apply=lambda sampler, array: L.llama_sampler_free(holder[0]))\nholder = [sampler]\n"
        "L.llama_sampler_apply(sampler, byref(candidates()))",
        rf"{ERROR} llama_sampler_free\(\): smpl",
    ),
    "freeing the context inside of a sampler": (
        "decode(ctx)\nchain = chain_of(user_sampler(apply=lambda sampler, array: L.llama_free(ctx)))\n"
        "L.llama_sampler_sample(chain, ctx, -1)",
        rf"{ERROR} llama_free\(\): ctx",
    ),
    "freeing an adapter inside of a decode that uses it": (
        "adapter = L.llama_adapter_lora_init(model, adapter_path())\n"
        "L.llama_set_adapters_lora(ctx, (ctypes.c_void_p * 1)(adapter), 1, floats(1))\n"
        "def free(data):\n"
        "    L.llama_adapter_lora_free(adapter)\n"
        "    return False\n"
        "L.llama_set_abort_callback(ctx, L.ggml_abort_callback(free), None)\n"
        "decode(ctx)",
        rf"({ERROR}|{VALUE}) llama_adapter_lora_free\(\): (?!.*has freed)",
    ),
    "freeing a pool inside of a decode that uses it": (
        "pool = pool_of(2)\nL.llama_attach_threadpool(ctx, pool, None)\nL.llama_set_n_threads(ctx, 2, 2)\n"
        "def free(data):\n"
        "    L.llama_detach_threadpool(ctx)\n"
        "    L.ggml_threadpool_free(pool)\n"
        "    return False\n"
        "L.llama_set_abort_callback(ctx, L.ggml_abort_callback(free), None)\n"
        "decode(ctx)",
        rf"({ERROR}|{VALUE}) (llama_detach_threadpool|ggml_threadpool_free)\(\)",
    ),
    "freeing the model inside of a log message of its context": (
        "L.llama_log_set(L.llama_log_callback(lambda *given: L.llama_model_free(model)), None)\ncontext_of(model)",
        rf"({ERROR}|{VALUE}) llama_model_free\(\): model .+ in use",
    ),
    "freeing a chain inside of the free of its sampler": (
        "chain = chain_of(user_sampler(apply=print, free=lambda sampler: L.llama_sampler_free(chain)))\n"
        "L.llama_sampler_free(chain)",
        rf"({ERROR}|{VALUE}) llama_sampler_free\(\): smpl",
    ),
    "a sampler that makes the array longer": (
        "def grow(sampler, array):\n"
        "    array.contents.size = 10**7\n"
        "decode(ctx)\nL.llama_sampler_sample(chain_of(user_sampler(apply=grow)), ctx, -1)",
        rf"{ASSERTION} llama_sampler_sample\(\)",
    ),
    "an abort callback that was collected": (
        "L.llama_set_abort_callback(ctx, L.ggml_abort_callback(lambda data: False), None)\ngc.collect()\ndecode(ctx)",
        "returned 0",
    ),
    "a sampler's functions that were collected": (
        "chain = chain_of(user_sampler(apply=lambda sampler, array: None))\ngc.collect()\n"
        "L.llama_sampler_apply(chain, byref(candidates()))",
        "returned None",
    ),
    "an exception in a sampler": (
        "L.llama_sampler_apply(user_sampler(apply=lambda sampler, array: {}['key']), byref(candidates()))",
        "KeyError 'key'",
    ),
    "an exception in a load's progress": (
        "load(progress_callback=L.llama_progress_callback(lambda progress, data: [][0]))",
        "IndexError list index out of range",
    ),
    "a callback of another type": (
        "L.llama_set_abort_callback(ctx, L.llama_log_callback(lambda *given: None), None)",
        r"TypeError llama_set_abort_callback\(\): abort_callback",
    ),
    "a function where C wants a callback": (
        "L.llama_set_abort_callback(ctx, lambda data: False, None)",
        r"TypeError llama_set_abort_callback\(\): abort_callback",
    ),
}

CLASSES: dict[str, Cells] = {
    "ctypes": THE_21,
    "owners": OWNERS,
    "batches": BATCHES,
    "indexes": INDEXES,
    "memory": MEMORY,
    "samplers": SAMPLERS,
    "texts": TEXTS,
    "parameters": PARAMETERS,
    "callbacks": CALLBACKS,
}
ALL = [(kind, name) for kind, cells in CLASSES.items() for name in cells]


@pytest.fixture(scope="module")
def outcome_of(tiny_path: Path) -> Callable[[str, str], str]:
    """Give what became of a cell; the cells of a class run together when the first of them is asked for."""
    known: dict[str, cell_runner.Outcomes] = {}

    def ask(kind: str, name: str) -> str:
        if kind not in known:
            known[kind] = cell_runner.outcomes(tiny_path, {one: code for one, (code, _) in CLASSES[kind].items()})
        return known[kind][name]

    return ask


@pytest.mark.parametrize(("kind", "name"), ALL, ids=[f"{kind}: {name}" for kind, name in ALL])
def test_a_mistake_is_told_and_survived(kind: str, name: str, outcome_of: Callable[[str, str], str]) -> None:
    expected = CLASSES[kind][name][1]
    assert re.match(expected, outcome_of(kind, name), re.S)


def test_there_are_the_21_mistakes_and_more_than_150_cells() -> None:
    assert len(THE_21) == 21
    assert len(ALL) >= 150
