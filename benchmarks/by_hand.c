/* What one would write by hand: the floor under any binding, for benchmarks/calls.py and benchmarks/token_loop.py.
 *
 * Takes and gives what the documented API does: ints for handles, ctypes arrays for buffers, bytes for text, ctypes
 * objects for structs and typed pointers, made through their type's tp_new and the buffer protocol. It checks nothing
 * and keeps nothing alive. Each function is there twice: NAME keeps the GIL, NAME_released releases it around C. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "llama.h"

static PyTypeObject *batch_type, *context_params_type, *float_pointer_type;
static PyObject *no_arguments;

static int32_t as_int(PyObject *given) { return (int32_t)PyLong_AsLong(given); }

static void *as_pointer(PyObject *given) { return PyLong_AsVoidPtr(given); }

/* A new ctypes object of `type` that holds `value`. */
static PyObject *made(PyTypeObject *type, const void *value, size_t size) {
    Py_buffer view;
    PyObject *object = type->tp_new(type, no_arguments, NULL);
    if (!object || PyObject_GetBuffer(object, &view, PyBUF_WRITABLE) < 0) return NULL;
    memcpy(view.buf, value, size);
    PyBuffer_Release(&view);
    return object;
}

static inline PyThreadState *leave(int released) { return released ? PyEval_SaveThread() : NULL; }

static inline void back(PyThreadState *state) {
    if (state) PyEval_RestoreThread(state);
}

static inline PyObject *n_ctx(PyObject *const *given, int released) {
    const struct llama_context *context = as_pointer(given[0]);
    PyThreadState *state = leave(released);
    const uint32_t result = llama_n_ctx(context);
    back(state);
    return PyLong_FromUnsignedLong(result);
}

static inline PyObject *vocab_is_eog(PyObject *const *given, int released) {
    const struct llama_vocab *vocab = as_pointer(given[0]);
    const llama_token token = as_int(given[1]);
    PyThreadState *state = leave(released);
    const bool result = llama_vocab_is_eog(vocab, token);
    back(state);
    return PyBool_FromLong(result);
}

static inline PyObject *vocab_get_score(PyObject *const *given, int released) {
    const struct llama_vocab *vocab = as_pointer(given[0]);
    const llama_token token = as_int(given[1]);
    PyThreadState *state = leave(released);
    const float result = llama_vocab_get_score(vocab, token);
    back(state);
    return PyFloat_FromDouble(result);
}

static inline PyObject *vocab_get_text(PyObject *const *given, int released) {
    const struct llama_vocab *vocab = as_pointer(given[0]);
    const llama_token token = as_int(given[1]);
    PyThreadState *state = leave(released);
    const char *result = llama_vocab_get_text(vocab, token);
    back(state);
    return PyBytes_FromString(result);
}

static inline PyObject *vocab_type(PyObject *const *given, int released) {
    const struct llama_vocab *vocab = as_pointer(given[0]);
    PyThreadState *state = leave(released);
    const enum llama_vocab_type result = llama_vocab_type(vocab);
    back(state);
    return PyLong_FromLong(result);
}

static inline PyObject *token_to_piece(PyObject *const *given, int released) {
    const struct llama_vocab *vocab = as_pointer(given[0]);
    const llama_token token = as_int(given[1]);
    const int32_t length = as_int(given[3]), lstrip = as_int(given[4]);
    const bool special = PyObject_IsTrue(given[5]);
    Py_buffer piece;
    if (PyObject_GetBuffer(given[2], &piece, PyBUF_WRITABLE) < 0) return NULL;
    PyThreadState *state = leave(released);
    const int32_t result = llama_token_to_piece(vocab, token, piece.buf, length, lstrip, special);
    back(state);
    PyBuffer_Release(&piece);
    return PyLong_FromLong(result);
}

static inline PyObject *model_meta_val_str(PyObject *const *given, int released) {
    const struct llama_model *model = as_pointer(given[0]);
    const char *key = PyBytes_AS_STRING(given[1]);
    const size_t size = PyLong_AsSize_t(given[3]);
    Py_buffer text;
    if (PyObject_GetBuffer(given[2], &text, PyBUF_WRITABLE) < 0) return NULL;
    PyThreadState *state = leave(released);
    const int32_t result = llama_model_meta_val_str(model, key, text.buf, size);
    back(state);
    PyBuffer_Release(&text);
    return PyLong_FromLong(result);
}

static inline PyObject *get_logits_ith(PyObject *const *given, int released) {
    struct llama_context *context = as_pointer(given[0]);
    const int32_t position = as_int(given[1]);
    PyThreadState *state = leave(released);
    float *logits = llama_get_logits_ith(context, position);
    back(state);
    return made(float_pointer_type, &logits, sizeof logits);
}

static inline PyObject *batch_get_one(PyObject *const *given, int released) {
    const int32_t count = as_int(given[1]);
    Py_buffer tokens;
    if (PyObject_GetBuffer(given[0], &tokens, PyBUF_WRITABLE) < 0) return NULL;
    PyThreadState *state = leave(released);
    const struct llama_batch batch = llama_batch_get_one(tokens.buf, count);
    back(state);
    PyBuffer_Release(&tokens);
    return made(batch_type, &batch, sizeof batch);
}

static inline PyObject *get_memory(PyObject *const *given, int released) {
    const struct llama_context *context = as_pointer(given[0]);
    PyThreadState *state = leave(released);
    const llama_memory_t result = llama_get_memory(context);
    back(state);
    return PyLong_FromVoidPtr(result);
}

static inline PyObject *memory_seq_pos_max(PyObject *const *given, int released) {
    const llama_memory_t memory = as_pointer(given[0]);
    const llama_seq_id sequence = as_int(given[1]);
    PyThreadState *state = leave(released);
    const llama_pos result = llama_memory_seq_pos_max(memory, sequence);
    back(state);
    return PyLong_FromLong(result);
}

static inline PyObject *sampler_accept(PyObject *const *given, int released) {
    struct llama_sampler *sampler = as_pointer(given[0]);
    const llama_token token = as_int(given[1]);
    PyThreadState *state = leave(released);
    llama_sampler_accept(sampler, token);
    back(state);
    Py_RETURN_NONE;
}

static inline PyObject *supports_mmap(PyObject *const *given, int released) {
    (void)given;
    PyThreadState *state = leave(released);
    const bool result = llama_supports_mmap();
    back(state);
    return PyBool_FromLong(result);
}

static inline PyObject *context_default_params(PyObject *const *given, int released) {
    (void)given;
    PyThreadState *state = leave(released);
    const struct llama_context_params params = llama_context_default_params();
    back(state);
    return made(context_params_type, &params, sizeof params);
}

/* ---------------------------------------------------------------- what is not measured as a call */

static void ignore_log(enum ggml_log_level level, const char *text, void *data) { (void)level, (void)text, (void)data; }

static struct llama_context *context_of(const char *path, unsigned size, unsigned sequences, int threads) {
    llama_log_set(ignore_log, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(path, llama_model_default_params());
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = size;
    params.n_seq_max = sequences;
    params.n_threads = params.n_threads_batch = threads;
    return model ? llama_init_from_model(model, params) : NULL;
}

/* open(path, n_ctx, token) -> (model, vocab, context, memory, sampler): the context has decoded one token. */
static PyObject *open_context(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *path;
    unsigned size;
    llama_token token;
    if (!PyArg_ParseTuple(arguments, "yIi", &path, &size, &token)) return NULL;
    struct llama_context *context = context_of(path, size, 1, 1);
    if (!context || llama_decode(context, llama_batch_get_one(&token, 1)) != 0)
        return PyErr_Format(PyExc_RuntimeError, "no context of %s that decodes", path);
    void *made[] = {(void *)llama_get_model(context), (void *)llama_model_get_vocab(llama_get_model(context)), context,
                    llama_get_memory(context), llama_sampler_init_greedy()};
    PyObject *handles = PyTuple_New(5);
    for (int i = 0; i < 5; ++i) PyTuple_SET_ITEM(handles, i, PyLong_FromVoidPtr(made[i]));
    return handles;
}

/* use_types(llama_batch, llama_context_params, POINTER(c_float)): the ctypes types of the results. */
static PyObject *use_types(PyObject *module, PyObject *arguments) {
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOO", &batch_type, &context_params_type, &float_pointer_type)) return NULL;
    Py_INCREF(arguments); /* which holds the three for good */
    no_arguments = PyTuple_New(0);
    Py_RETURN_NONE;
}

/* ---------------------------------------------------------------- a loop without Python */

struct loop {
    struct llama_context *context;
    struct llama_sampler *sampler;
    int sequences;
};

static struct loop loop;

/* open_loop(path, n_ctx, sequences, threads) */
static PyObject *open_loop(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *path;
    unsigned size, sequences;
    int threads;
    if (!PyArg_ParseTuple(arguments, "yIIi", &path, &size, &sequences, &threads)) return NULL;
    loop = (struct loop){context_of(path, size, sequences, threads), llama_sampler_init_greedy(), (int)sequences};
    if (!loop.context) return PyErr_Format(PyExc_RuntimeError, "no context of %s", path);
    Py_RETURN_NONE;
}

static void put(struct llama_batch *batch, llama_token token, llama_pos at, llama_seq_id sequence) {
    const int32_t i = batch->n_tokens++;
    batch->token[i] = token;
    batch->pos[i] = at;
    batch->n_seq_id[i] = 1;
    batch->seq_id[i][0] = sequence;
    batch->logits[i] = true;
}

/* Decode the prompt in each sequence; then sample, look at the token, and decode it, so many times. */
static int run(const llama_token *prompt, int32_t size, int steps, int64_t *times, llama_token *chosen) {
    const struct llama_vocab *vocab = llama_model_get_vocab(llama_get_model(loop.context));
    struct llama_batch batch = llama_batch_init(loop.sequences, 0, 1);
    char piece[64];
    int failed = 0;
    llama_memory_clear(llama_get_memory(loop.context), true);
    times[0] = llama_time_us();
    for (int sequence = 0; sequence < loop.sequences && !failed; ++sequence) {
        struct llama_batch whole = llama_batch_init(size, 0, 1);
        for (int i = 0; i < size; ++i) put(&whole, prompt[i], i, sequence), whole.logits[i] = i == size - 1;
        failed = llama_decode(loop.context, whole);
        chosen[sequence] = llama_sampler_sample(loop.sampler, loop.context, -1);
        llama_batch_free(whole);
    }
    times[1] = llama_time_us();
    for (int step = 0; step < steps && !failed; ++step) {
        batch.n_tokens = 0;
        for (int sequence = 0; sequence < loop.sequences; ++sequence) {
            llama_vocab_is_eog(vocab, chosen[sequence]);
            llama_token_to_piece(vocab, chosen[sequence], piece, sizeof piece, 0, false);
            put(&batch, chosen[sequence], size + step, sequence);
        }
        failed = llama_decode(loop.context, batch);
        for (int sequence = 0; sequence < loop.sequences; ++sequence)
            chosen[sequence] = llama_sampler_sample(loop.sampler, loop.context, sequence);
    }
    times[2] = llama_time_us();
    llama_batch_free(batch);
    return failed;
}

/* run_loop(prompt, steps) -> (seconds of the prompts, of the steps, the last token of the first sequence) */
static PyObject *run_loop(PyObject *module, PyObject *arguments) {
    (void)module;
    Py_buffer prompt;
    int steps, failed;
    int64_t times[3];
    llama_token chosen[64];
    if (!PyArg_ParseTuple(arguments, "y*i", &prompt, &steps)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = run(prompt.buf, (int32_t)(prompt.len / (Py_ssize_t)sizeof(llama_token)), steps, times, chosen);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&prompt);
    if (failed) return PyErr_Format(PyExc_RuntimeError, "a token was not decoded");
    return Py_BuildValue("ddi", (double)(times[1] - times[0]) / 1e6, (double)(times[2] - times[1]) / 1e6, chosen[0]);
}

/* ---------------------------------------------------------------- the module */

/* A macro, since it makes names: the same function twice, by CPython's fastest calling convention for its arguments. */
#define TWICE(name)                                                                                            \
    static PyObject *name##_kept(PyObject *module, PyObject *const *given, Py_ssize_t count) {                 \
        return (void)module, (void)count, name(given, 0);                                                      \
    }                                                                                                          \
    static PyObject *name##_released(PyObject *module, PyObject *const *given, Py_ssize_t count) {             \
        return (void)module, (void)count, name(given, 1);                                                      \
    }
#define TWICE_OF_ONE(name)                                                                                     \
    static PyObject *name##_kept(PyObject *module, PyObject *given) { return (void)module, name(&given, 0); }  \
    static PyObject *name##_released(PyObject *module, PyObject *given) { return (void)module, name(&given, 1); }

TWICE_OF_ONE(n_ctx)
TWICE_OF_ONE(vocab_type)
TWICE_OF_ONE(get_memory)
TWICE_OF_ONE(supports_mmap)
TWICE_OF_ONE(context_default_params)
TWICE(vocab_is_eog)
TWICE(vocab_get_score)
TWICE(vocab_get_text)
TWICE(token_to_piece)
TWICE(model_meta_val_str)
TWICE(get_logits_ith)
TWICE(batch_get_one)
TWICE(memory_seq_pos_max)
TWICE(sampler_accept)

/* The cast that CPython documents. */
#define METHOD(name, flags)                                                   \
    {"llama_" #name, (PyCFunction)(void (*)(void))name##_kept, flags, NULL},  \
    {"llama_" #name "_released", (PyCFunction)(void (*)(void))name##_released, flags, NULL}

static PyMethodDef functions[] = {
    METHOD(n_ctx, METH_O),
    METHOD(vocab_type, METH_O),
    METHOD(get_memory, METH_O),
    METHOD(supports_mmap, METH_NOARGS),
    METHOD(context_default_params, METH_NOARGS),
    METHOD(vocab_is_eog, METH_FASTCALL),
    METHOD(vocab_get_score, METH_FASTCALL),
    METHOD(vocab_get_text, METH_FASTCALL),
    METHOD(token_to_piece, METH_FASTCALL),
    METHOD(model_meta_val_str, METH_FASTCALL),
    METHOD(get_logits_ith, METH_FASTCALL),
    METHOD(batch_get_one, METH_FASTCALL),
    METHOD(memory_seq_pos_max, METH_FASTCALL),
    METHOD(sampler_accept, METH_FASTCALL),
    {"open", open_context, METH_VARARGS, NULL},
    {"use_types", use_types, METH_VARARGS, NULL},
    {"open_loop", open_loop, METH_VARARGS, NULL},
    {"run_loop", run_loop, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "by_hand", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_by_hand(void) { return PyModule_Create(&definition); }
