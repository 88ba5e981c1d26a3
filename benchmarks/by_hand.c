/* What one would write by hand, for the nine functions that overhead.py measures: the floor under any binding.
 *
 * Takes and gives what the documented API does: ints for handles, ctypes arrays for buffers, bytes for text, ctypes
 * objects for structs and typed pointers, made through their type's tp_new and the buffer protocol. It checks nothing
 * and keeps nothing alive. Only llama_get_logits_ith, which may wait for a device, releases the GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "llama.h"

static PyTypeObject *batch_type, *context_params_type, *float_pointer_type;
static PyObject *no_arguments;

static int32_t as_int(PyObject *given) { return (int32_t)PyLong_AsLong(given); }

/* A new ctypes object of `type` that holds `value`. */
static PyObject *made(PyTypeObject *type, const void *value, size_t size) {
    Py_buffer view;
    PyObject *object = type->tp_new(type, no_arguments, NULL);
    if (!object || PyObject_GetBuffer(object, &view, PyBUF_WRITABLE) < 0) return NULL;
    memcpy(view.buf, value, size);
    PyBuffer_Release(&view);
    return object;
}

static PyObject *n_ctx(PyObject *module, PyObject *context) {
    return PyLong_FromUnsignedLong(llama_n_ctx(PyLong_AsVoidPtr(context)));
}

static PyObject *vocab_is_eog(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    return PyBool_FromLong(llama_vocab_is_eog(PyLong_AsVoidPtr(given[0]), as_int(given[1])));
}

static PyObject *token_to_piece(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    Py_buffer piece;
    if (PyObject_GetBuffer(given[2], &piece, PyBUF_WRITABLE) < 0) return NULL;
    const int32_t length = llama_token_to_piece(PyLong_AsVoidPtr(given[0]), as_int(given[1]), piece.buf,
                                                as_int(given[3]), as_int(given[4]), PyObject_IsTrue(given[5]));
    PyBuffer_Release(&piece);
    return PyLong_FromLong(length);
}

static PyObject *get_logits_ith(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    struct llama_context *context = PyLong_AsVoidPtr(given[0]);
    const int32_t position = as_int(given[1]);
    float *logits;
    Py_BEGIN_ALLOW_THREADS
    logits = llama_get_logits_ith(context, position);
    Py_END_ALLOW_THREADS
    return made(float_pointer_type, &logits, sizeof logits);
}

static PyObject *batch_get_one(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    Py_buffer tokens;
    if (PyObject_GetBuffer(given[0], &tokens, PyBUF_WRITABLE) < 0) return NULL;
    const struct llama_batch batch = llama_batch_get_one(tokens.buf, as_int(given[1]));
    PyBuffer_Release(&tokens);
    return made(batch_type, &batch, sizeof batch);
}

static PyObject *get_memory(PyObject *module, PyObject *context) {
    return PyLong_FromVoidPtr(llama_get_memory(PyLong_AsVoidPtr(context)));
}

static PyObject *context_default_params(PyObject *module, PyObject *ignored) {
    const struct llama_context_params params = llama_context_default_params();
    return made(context_params_type, &params, sizeof params);
}

static PyObject *vocab_get_text(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    return PyBytes_FromString(llama_vocab_get_text(PyLong_AsVoidPtr(given[0]), as_int(given[1])));
}

static PyObject *tokenize(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    Py_buffer tokens;
    if (PyObject_GetBuffer(given[3], &tokens, PyBUF_WRITABLE) < 0) return NULL;
    const int32_t found =
        llama_tokenize(PyLong_AsVoidPtr(given[0]), PyBytes_AS_STRING(given[1]), as_int(given[2]), tokens.buf,
                       as_int(given[4]), PyObject_IsTrue(given[5]), PyObject_IsTrue(given[6]));
    PyBuffer_Release(&tokens);
    return PyLong_FromLong(found);
}

/* ---------------------------------------------------------------- what is not measured */

static void ignore_log(enum ggml_log_level level, const char *text, void *data) {}

/* open(path, n_ctx, token) -> (vocab, context): a context that has decoded one token, so that it has logits. */
static PyObject *open_context(PyObject *module, PyObject *arguments) {
    const char *path;
    unsigned size;
    llama_token token;
    if (!PyArg_ParseTuple(arguments, "yIi", &path, &size, &token)) return NULL;
    llama_log_set(ignore_log, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(path, llama_model_default_params());
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = size;
    params.n_threads = params.n_threads_batch = 1;
    struct llama_context *context = model ? llama_init_from_model(model, params) : NULL;
    if (!context || llama_decode(context, llama_batch_get_one(&token, 1)) != 0)
        return PyErr_Format(PyExc_RuntimeError, "no context of %s that decodes", path);
    return Py_BuildValue("NN", PyLong_FromVoidPtr((void *)llama_model_get_vocab(model)), PyLong_FromVoidPtr(context));
}

/* use_types(llama_batch, llama_context_params, POINTER(c_float)): the ctypes types of the results. */
static PyObject *use_types(PyObject *module, PyObject *arguments) {
    if (!PyArg_ParseTuple(arguments, "OOO", &batch_type, &context_params_type, &float_pointer_type)) return NULL;
    Py_INCREF(arguments); /* which holds the three for good */
    no_arguments = PyTuple_New(0);
    Py_RETURN_NONE;
}

#define FAST(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL /* the cast that CPython documents */

static PyMethodDef functions[] = {
    {"llama_n_ctx", n_ctx, METH_O},
    {"llama_vocab_is_eog", FAST(vocab_is_eog)},
    {"llama_token_to_piece", FAST(token_to_piece)},
    {"llama_get_logits_ith", FAST(get_logits_ith)},
    {"llama_batch_get_one", FAST(batch_get_one)},
    {"llama_get_memory", get_memory, METH_O},
    {"llama_context_default_params", context_default_params, METH_NOARGS},
    {"llama_vocab_get_text", FAST(vocab_get_text)},
    {"llama_tokenize", FAST(tokenize)},
    {"open", open_context, METH_VARARGS},
    {"use_types", use_types, METH_VARARGS},
    {NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "by_hand", NULL, -1, functions};

PyMODINIT_FUNC PyInit_by_hand(void) { return PyModule_Create(&definition); }
