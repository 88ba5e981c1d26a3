// See outputs.h.
#include "core/outputs.h"

#include <string>

#include "core/ctypes_objects.h"
#include "core/errors.h"
#include "core/own_calls.h"
#include "engine/contexts.h"
#include "engine/logs.h"

namespace llamacffi {

namespace {

// ---------------------------------------------------------------- memory that is lent

struct loan {
    const void *context;
    const float *numbers;
    Py_ssize_t count;
    unsigned buffers;
    bool is_over;
};

PyTypeObject *lent_type;
size_t head;  // of a Python object

loan &loan_of(PyObject *self) { return *reinterpret_cast<loan *>(reinterpret_cast<char *>(self) + head); }

int get_buffer(PyObject *self, Py_buffer *view, int flags) {
    const border_lock lock;
    loan &own = loan_of(self);
    if (own.is_over) {
        view->obj = nullptr;
        PyErr_SetString(PyExc_BufferError, "the reading that lent this memory is over");
        return -1;
    }
    void *numbers = const_cast<float *>(own.numbers);
    const Py_ssize_t size = own.count * static_cast<Py_ssize_t>(sizeof(float));
    if (PyBuffer_FillInfo(view, self, numbers, size, true, flags) < 0) return -1;
    ++own.buffers;
    return 0;
}

void release_buffer(PyObject *self, Py_buffer *) {
    const border_lock lock;
    loan &own = loan_of(self);
    if (--own.buffers == 0 && own.is_over) let_go(own.context);
}

void end_loan(PyObject *lent) {
    loan &own = loan_of(lent);
    own.is_over = true;
    if (own.buffers) hold(own.context);
}

void deallocate(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

// At the interpreter's end a thread is unwound out of the function.
PyObject *lend(call &c, const loan &all, PyObject *function) {
    PyObject *lent = PyType_GenericAlloc(lent_type, 0);
    if (!lent) return nullptr;
    loan_of(lent) = all;
    c.lock.leave();
    c.abandoned = true;
    PyObject *result = PyObject_CallFunctionObjArgs(function, lent, nullptr);
    c.abandoned = false;
    c.lock.enter();
    end_loan(lent);
    Py_DECREF(lent);
    return result;
}

// ---------------------------------------------------------------- outputs

int32_t vocabulary_of(const llama_context *ctx) {
    return llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(ctx)));
}

int32_t embedding_of(const llama_context *ctx) { return llama_model_n_embd_out(llama_get_model(ctx)); }

// A model that ranks gives a sequence as many numbers as it has classes.
int32_t pooled_of(const llama_context *ctx) {
    const bool ranks = llama_pooling_type(ctx) == LLAMA_POOLING_TYPE_RANK;
    return ranks ? static_cast<int32_t>(llama_model_n_cls_out(llama_get_model(ctx))) : embedding_of(ctx);
}

struct output_kind {
    const function_row &function;
    float *(*find)(llama_context *, int32_t);
    int32_t (*count)(const llama_context *);
    const char *needs;  // to be there
};

constexpr output_kind kinds[] = {
    {row_of("llama_get_logits_ith"), llama_get_logits_ith, vocabulary_of, "decode a batch that asks for logits there"},
    {row_of("llama_get_embeddings_ith"), llama_get_embeddings_ith, embedding_of,
     "make the context with embeddings = True, and decode a batch that asks for them there"},
    {row_of("llama_get_embeddings_seq"), llama_get_embeddings_seq, pooled_of,
     "make the context with embeddings = True and a pooling_type, and decode tokens of that sequence"},
};

PyObject *refuse_missing(const call &c, const output_kind &kind, int index) {
    const bool has_logged = c.extras && !c.extras->errors.empty();
    const std::string logged = has_logged ? "\nllama.cpp logged: " + c.extras->errors : "";
    PyErr_Format(LlamaError, "%s has computed nothing at %d: %s%s", subject(c, c.parameters()[0]).c_str(), index,
                 kind.needs, logged.c_str());
    return nullptr;
}

PyObject *refuse_outdated(const call &c) {
    refuse_value(c, c.parameters()[0],
                 "has computed again since this view was made: make a new one, or keep view.copy()");
    return nullptr;
}

const output_kind *kind_at(unsigned index) {
    if (index < std::size(kinds)) return &kinds[index];
    PyErr_Format(LlamaValueError, "there is no kind %u of outputs", index);
    return nullptr;
}

// In the context, which the call has entered and keeps: the output is still the one that was found, and C is asked
// again where it is.
PyObject *read_entered(call &c, const output_kind &kind, int index, uint64_t computation, PyObject *function) {
    auto *ctx = handle_at<llama_context>(c, 0);
    loan all{ctx, nullptr, 0, 0, false};
    running run(c, true);
    try {
        if (last_computation(ctx) == computation) all.numbers = kind.find(ctx, index);
        all.count = kind.count(ctx);
    }
    LLAMACFFI_CATCH_UNWIND
    catch (...) {
        return run.failed();
    }
    PyObject *result = all.numbers ? lend(c, all, function) : refuse_outdated(c);
    if (!run.leave()) Py_CLEAR(result);
    return result;
}

}  // namespace

PyObject *find_output(PyObject *, PyObject *arguments) {
    PyObject *given, *type;
    unsigned which;
    int index;
    if (!PyArg_ParseTuple(arguments, "OOIi", &given, &type, &which, &index)) return nullptr;
    const output_kind *kind = kind_at(which);
    if (!kind) return nullptr;
    call c(kind->function, &given);
    if (!take_handle(c, 0, type)) return nullptr;
    auto *ctx = handle_at<llama_context>(c, 0);
    const float *numbers = nullptr;
    uint64_t computation = 0;
    int32_t count = 0;
    const bool done = act_in_c(c, [&] {
        numbers = kind->find(ctx, index);
        computation = last_computation(ctx);
        count = kind->count(ctx);
    });
    if (!done) return nullptr;
    if (!numbers) return refuse_missing(c, *kind, index);
    return Py_BuildValue("NKi", PyLong_FromVoidPtr(ctx), static_cast<unsigned long long>(computation), count);
}

PyObject *read_output(PyObject *, PyObject *arguments) {
    PyObject *function, *address;
    unsigned which;
    int index;
    unsigned long long computation;
    if (!PyArg_ParseTuple(arguments, "OOIiK", &function, &address, &which, &index, &computation)) return nullptr;
    const output_kind *kind = kind_at(which);
    if (!kind) return nullptr;
    // Its parameter is a context that is read, beside others that read it; C's own function may still sort what is
    // there, but not a second time.
    static constexpr const function_row &reads_context = row_of("llama_perf_context");
    const function_row row = renamed(reads_context, kind->function.name);
    call c(row, &address);
    c.addresses[0] = PyLong_AsVoidPtr(address);
    if (PyErr_Occurred() || !judge_handle(c, c.parameters()[0], c.addresses[0]) || !enter_in_turn(c)) return nullptr;
    return read_entered(c, *kind, index, computation, function);
}

bool load_lent_type() {
    head = static_cast<size_t>(size_of_objects(&PyBaseObject_Type));
    PyType_Slot slots[] = {
        {Py_bf_getbuffer, reinterpret_cast<void *>(get_buffer)},
        {Py_bf_releasebuffer, reinterpret_cast<void *>(release_buffer)},
        {Py_tp_dealloc, reinterpret_cast<void *>(deallocate)},
        {0, nullptr},
    };
    PyType_Spec spec = {"llamacffi.arrays.LentMemory", static_cast<int>(head + sizeof(loan)), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    lent_type = reinterpret_cast<PyTypeObject *>(PyType_FromSpec(&spec));
    return lent_type != nullptr;
}

}  // namespace llamacffi
