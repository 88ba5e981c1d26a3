/* A greedy token loop in C over a context that Python has made: `token_loop.generate(ctx, vocab, token, n)`.
 *
 * The functions are those of the llama.cpp that llamacffi holds; setup.py links nothing. */
#define PY_SSIZE_T_CLEAN
#include "llamacffi.h"

/* Returns the token with the highest logit after `token`, or -1 where C could not decode. */
static llama_token next(struct llama_context *ctx, llama_token token, int n_vocab) {
    if (llama_decode(ctx, llama_batch_get_one(&token, 1)) != 0) return -1;
    const float *logits = llama_get_logits_ith(ctx, -1);
    llama_token best = 0;
    for (llama_token other = 1; other < n_vocab; ++other) {
        if (logits[other] > logits[best]) best = other;
    }
    return best;
}

static PyObject *generate(PyObject *module, PyObject *arguments) {
    unsigned long long ctx_handle, vocab_handle;
    int token, n;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "KKii", &ctx_handle, &vocab_handle, &token, &n)) return NULL;
    struct llama_context *ctx = (struct llama_context *)(uintptr_t)ctx_handle;
    const int n_vocab = llama_vocab_n_tokens((const struct llama_vocab *)(uintptr_t)vocab_handle);
    PyObject *tokens = PyList_New(0);
    for (int i = 0; tokens && i < n; ++i) {
        Py_BEGIN_ALLOW_THREADS
        token = next(ctx, token, n_vocab);
        Py_END_ALLOW_THREADS
        PyObject *number = PyLong_FromLong(token);
        if (!number || PyList_Append(tokens, number) != 0) Py_CLEAR(tokens);
        Py_XDECREF(number);
    }
    return tokens;
}

static PyMethodDef methods[] = {{"generate", generate, METH_VARARGS, "generate(ctx, vocab, token, n): list of tokens"},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "token_loop", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_token_loop(void) {
    if (import_llamacffi() != 0) return NULL;
    return PyModule_Create(&module);
}
