# cython: language_level=3
"""How surprised a model is by a text, in Cython: `surprise.bits(ctx, vocab, tokens)`.

The functions are those of the llama.cpp that llamacffi holds; setup.py links nothing.
"""

from libc.math cimport exp, log, log2
from libc.stdint cimport int32_t, uintptr_t

cdef extern from "llamacffi.h":
    int import_llamacffi() except -1
    cdef struct llama_context
    cdef struct llama_vocab
    ctypedef struct llama_batch:
        pass
    llama_batch llama_batch_get_one(int32_t *tokens, int32_t n_tokens) nogil
    int32_t llama_decode(llama_context *ctx, llama_batch batch) nogil
    float *llama_get_logits_ith(llama_context *ctx, int32_t i) nogil
    int32_t llama_vocab_n_tokens(const llama_vocab *vocab) nogil

import_llamacffi()


cdef double bits_of(const float *logits, int32_t n_vocab, int32_t token) noexcept nogil:
    """Minus the binary logarithm of the probability of a token."""
    cdef double largest = logits[0], total = 0
    for i in range(n_vocab):
        largest = max(largest, logits[i])
    for i in range(n_vocab):
        total += exp(logits[i] - largest)
    return (largest + log(total) - logits[token]) * log2(2.718281828459045)


def bits(uintptr_t ctx_handle, uintptr_t vocab_handle, int32_t[::1] tokens):
    """Return the mean of the bits of each token but the first, given those before it."""
    cdef llama_context *ctx = <llama_context *>ctx_handle
    cdef int32_t n_vocab = llama_vocab_n_tokens(<const llama_vocab *>vocab_handle)
    cdef double total = 0
    cdef Py_ssize_t i
    cdef int32_t status = 0
    with nogil:
        for i in range(tokens.shape[0] - 1):
            status = llama_decode(ctx, llama_batch_get_one(&tokens[i], 1))
            if status != 0:
                break
            total += bits_of(llama_get_logits_ith(ctx, -1), n_vocab, tokens[i + 1])
    if status != 0:
        raise RuntimeError(f"llama_decode() gave {status}")
    return total / (tokens.shape[0] - 1)
