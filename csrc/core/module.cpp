// The extension: the wrappers that cffi generated, and the built-in functions that lead to them.
//
// A wrapper is entered through `enter<…>`, which makes the call record. cffi's own `lib` gets such entries by a
// copy of its table of globals; `functions` holds the same ones with a faster calling convention, which has names too,
// and under which the facade re-exports them. Where that stands for llama-cpp-python's module, it has them as objects
// with attributes.
#include "_llama.cpp"
#include "formulas.cpp"

#undef _cffi_init  // cffi's own again

#include <vector>

#include "core/arrays.h"
#include "core/by_name.h"
#include "core/callbacks.h"
#include "core/cpu_levels.h"
#include "core/engine.h"
#include "core/errors.h"
#include "core/function_objects.h"
#include "core/outputs.h"
#include "core/own_calls.h"
#include "core/plain.h"
#include "engine/cpus.h"
#include "engine/fork.h"
#include "engine/rpc_served.h"

namespace llamacffi {

using wrapper = PyObject *(*)(PyObject *, PyObject *);

// All arguments are there, in their places. Not inlined, so that each wrapper is, into this one place: no other refers
// to it (bindgen/wrappers.py).
template <unsigned Function, wrapper Wrapped>
[[gnu::noinline]] static PyObject *enter(PyObject *const *arguments) {
    constexpr const function_row &function = function_rows[Function];
    if constexpr (function.deprecated != nullptr) {
        if (PyErr_WarnFormat(PyExc_DeprecationWarning, 1, "%s is deprecated; %s", function.name, function.deprecated) <
            0)
            return nullptr;
    }
    // What cffi's wrapper takes: nothing, the only argument, or where they are.
    PyObject *given =
        function.count == 1 ? *arguments : reinterpret_cast<PyObject *>(const_cast<PyObject **>(arguments));
    call c(function, arguments);
    c.generation = handles.generation;  // after the record has taken the lock
    PyObject *result = Wrapped(reinterpret_cast<PyObject *>(&c), given);
    if constexpr (keeps_arguments(function)) {
        if constexpr (makes_owner(function)) {
            if (result && !keep_arguments(c)) Py_CLEAR(result);
        } else if (!result) {
            keep_replaced(c);
        }
    }
    return result;
}

// The short way where the function has one and it can be gone; `direct` is cffi's name for C's own function.
template <unsigned Function, wrapper Wrapped, auto Direct>
static PyObject *enter_shortly(PyObject *const *arguments) {
    if constexpr (is_plain(function_rows[Function])) {
        PyObject *result;
        if (call_plain<Function>(Direct, arguments, &result)) return result;
    }
    return enter<Function, Wrapped>(arguments);
}

template <unsigned Function, wrapper Wrapped, auto Direct>
static PyObject *from_python(PyObject *, PyObject *const *arguments, size_t flagged, PyObject *names) {
    constexpr const function_row &function = function_rows[Function];
    const Py_ssize_t count = positional(flagged);
    const bool in_order = names ? came_in_order(function, count, names) : count == function.count;
    if (in_order) return enter_shortly<Function, Wrapped, Direct>(arguments);
    return call_by_name(function, arguments, count, names, enter<Function, Wrapped>);
}

// As cffi's lib calls: positions only.
template <unsigned Function, wrapper Wrapped, auto Direct>
static PyObject *from_lib(PyObject *, PyObject *given) {
    constexpr const function_row &function = function_rows[Function];
    if constexpr (function.count <= 1) return enter_shortly<Function, Wrapped, Direct>(&given);
    PyObject *arguments[max_parameters];
    const Py_ssize_t count = PyTuple_Size(given);
    for (Py_ssize_t i = 0; i < count && i < max_parameters; ++i) arguments[i] = PyTuple_GetItem(given, i);
    return from_python<Function, Wrapped, Direct>(nullptr, arguments, static_cast<size_t>(count), nullptr);
}

struct entry {
    const function_row &row;
    PyMethodDef fast;
    PyCFunction plain;  // what cffi's lib calls
    vectorcall of_object;
};

template <unsigned Function, wrapper Wrapped, auto Direct>
static entry make_entry() {
    constexpr const function_row &function = function_rows[Function];
    static_assert(function.count <= max_parameters);
    const vectorcall called = from_python<Function, Wrapped, Direct>;
    const PyCFunction method = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(called));
    return {function,
            {function.name, method, METH_FASTCALL | METH_KEYWORDS, function.doc},
            from_lib<Function, Wrapped, Direct>,
            called};
}

#define LLAMACFFI_FUNCTION(name) make_entry<function_index("_cffi_f_" #name), _cffi_f_##name, _cffi_d_##name>(),
static entry entries[] = {
#include "function_names.h"
};
#undef LLAMACFFI_FUNCTION

// ---------------------------------------------------------------- C's functions, for other extension modules

// The order is that of llamacffi.h (bindgen/c_api.py); so is the layout.
#define LLAMACFFI_FUNCTION(name) reinterpret_cast<void *>(_cffi_d_##name),
static void *const c_functions[] = {
#include "function_names.h"
};
#undef LLAMACFFI_FUNCTION

#include "c_api_fingerprint.h"

static const struct {
    const char *fingerprint;
    size_t n_functions;
    void *const *functions;
} c_api = {c_api_fingerprint, std::size(c_functions), c_functions};

static bool add_c_api(PyObject *module) {
    void *address = const_cast<void *>(static_cast<const void *>(&c_api));
    PyObject *capsule = PyCapsule_New(address, "llamacffi._llama._C_API", nullptr);
    const bool added = capsule && PyModule_AddObjectRef(module, "_C_API", capsule) == 0;
    Py_XDECREF(capsule);
    return added;
}

// ---------------------------------------------------------------- what the facade needs beside the functions

static const function_row *find_function(const char *name) {
    for (const function_row &one : function_rows) {
        if (compare(one.name, name) == 0) return &one;
    }
    return nullptr;
}

// Convert one argument as a call would, without calling: for the tests, which try every parameter with every object.
static PyObject *convert(PyObject *, PyObject *arguments) {
    const char *name;
    unsigned position;
    PyObject *given, *type;
    if (!PyArg_ParseTuple(arguments, "sIOO", &name, &position, &given, &type)) return nullptr;
    const function_row *function = find_function(name);
    if (!function || position >= function->count) {
        PyErr_Format(PyExc_LookupError, "no function %s with a parameter %u", name, position);
        return nullptr;
    }
    call c(*function, &given);
    const parameter_row &row = c.parameters()[position];
    char *address = nullptr;
    void *slot = type;
    if (!convert_by_row(c, row, &slot, given, &address)) return nullptr;
    return address ? PyLong_FromVoidPtr(address) : none();
}

// A context as an argument of llama_n_ctx: any thread may give it, whoever computes with it.
static PyObject *cancel_computation(PyObject *, PyObject *arguments) {
    static constexpr function_row row = renamed(row_of("llama_n_ctx"), "cancel");
    PyObject *given, *type;
    if (!PyArg_ParseTuple(arguments, "OO", &given, &type)) return nullptr;
    call c(row, &given);
    if (!take_handle(c, 0, type)) return nullptr;
    return PyBool_FromLong(cancel(handle_at<llama_context>(c, 0)));
}

// ctypes writes a field, and then what the struct keeps for it: a copy of the struct must see both or neither.
static PyObject *set_field(PyObject *, PyObject *arguments) {
    PyObject *object, *name, *value;
    if (!PyArg_ParseTuple(arguments, "OUO", &object, &name, &value)) return nullptr;
    const object_lock lock(object);
    return PyObject_GenericSetAttr(object, name, value) == 0 ? none() : nullptr;
}

static PyObject *last_error(PyObject *, PyObject *) {
    return PyUnicode_DecodeUTF8(last_error_text().data(), static_cast<Py_ssize_t>(last_error_text().size()), "replace");
}

static PyObject *set_last_error(PyObject *, PyObject *text) {
    last_error_text() = take_text(PyObject_Str(text));
    return none();
}

static PyObject *count_usable_cpus(PyObject *, PyObject *arguments) {
    const char *root = "";
    if (!PyArg_ParseTuple(arguments, "|s", &root)) return nullptr;
    return PyLong_FromLong(usable_cpus(root));
}

// The page is the process's from here on.
static PyObject *serve_one_client(PyObject *, PyObject *arguments) {
    int socket;
    unsigned long long limit;
    Py_ssize_t own;
    Py_buffer page;
    if (!PyArg_ParseTuple(arguments, "iKw*n", &socket, &limit, &page, &own)) return nullptr;
    auto *taken = static_cast<std::atomic<uint64_t> *>(page.buf);
    served = {socket, limit, taken, static_cast<size_t>(page.len) / sizeof *taken, static_cast<size_t>(own)};
    return none();
}

// The tables of objects, and what is kept of ctypes and cffi, are the process's: one interpreter has them.
static PyInterpreterState *interpreter = nullptr;

// The error names the package, not the extension: no other engine is to be taken instead (engines.py).
static PyObject *refuse_interpreter() {
    PyObject *package = PyUnicode_FromString("llamacffi");
    PyObject *said = PyUnicode_FromString(
        "llamacffi belongs to another interpreter of this process, as llama.cpp's objects do: import it in one "
        "interpreter only (from CPython 3.13 on in the main one), and initialize Python once in a process");
    if (package && said) PyErr_SetImportError(said, package, nullptr);
    Py_XDECREF(package);
    Py_XDECREF(said);
    return nullptr;
}

// CPython hands a second interpreter a copy of the first one's module, without asking the module. From 3.13 on it makes
// the module in the main interpreter, whichever imports it.
static PyObject *require_interpreter(PyObject *, PyObject *) {
    return PyInterpreterState_Get() == interpreter ? none() : refuse_interpreter();
}

static PyObject *function_objects(PyObject *, PyObject *) {
    PyObject *functions = PyDict_New();
    bool good = functions && load_function_type();
    for (const entry &one : entries) {
        PyObject *function = good ? make_function(one.row, one.of_object) : nullptr;
        good = function && PyDict_SetItemString(functions, one.row.name, function) == 0;
        Py_XDECREF(function);
    }
    if (!good) Py_CLEAR(functions);
    return functions;
}

static PyMethodDef own_functions[] = {
    {"function_objects", function_objects, METH_NOARGS,
     "function_objects()\n--\n\nReturn a dict of the functions as objects with attributes, as ctypes has them."},
    {"require_interpreter", require_interpreter, METH_NOARGS,
     "require_interpreter()\n--\n\nRaise ImportError in any interpreter but the one that the extension was made in."},
    {"guarded", guarded, METH_VARARGS,
     "guarded(function, stop)\n--\n\nWrap a callback: what it raises comes out of the call, and C gets `stop`."},
    {"convert", convert, METH_VARARGS,
     "convert(function, position, given, ctype)\n--\n\nConvert one argument as the call would; return its address."},
    {"set_field", set_field, METH_VARARGS,
     "set_field(struct, name, value)\n--\n\nSet an attribute as object.__setattr__ does, and let nobody copy the "
     "struct "
     "meanwhile."},
    {"cancel", cancel_computation, METH_VARARGS,
     "cancel(ctx, ctype, /)\n--\n\nEnd what a context computes; see llamacffi.cancel."},
    {"pieces", pieces, METH_VARARGS,
     "pieces(vocab, ctype, tokens, special, /)\n--\n\nList the pieces of tokens; see llamacffi.arrays."},
    {"metadata", metadata, METH_VARARGS, "metadata(model, ctype, /)\n--\n\nSee llamacffi.arrays."},
    {"fill_batch", fill_batch, METH_VARARGS,
     "fill_batch(batch, ctype, tokens, pos, seq_ids, logits, /)\n--\n\nSee llamacffi.arrays; it leaves n_tokens "
     "alone."},
    {"find_output", find_output, METH_VARARGS,
     "find_output(ctx, ctype, kind, index, /)\n--\n\nTell what read_output needs: address, computation, length."},
    {"read_output", read_output, METH_VARARGS,
     "read_output(function, address, kind, index, computation, /)\n--\n\nCall a function with the memory of an "
     "output."},
    {"serve_one_client", serve_one_client, METH_VARARGS,
     "serve_one_client(socket, limit, page, own, /)\n--\n\nLet ggml_backend_rpc_start_server serve this connection "
     "alone; "
     "see llamacffi.rpc_server."},
    {"last_error", last_error, METH_NOARGS,
     "last_error()\n--\n\nReturn what llama.cpp logged as errors in the last failing call of this thread, or ''."},
    {"set_last_error", set_last_error, METH_O, "Set what last_error() returns, for failures found in Python."},
    {"usable_cpus", count_usable_cpus, METH_VARARGS,
     "usable_cpus(root='')\n--\n\nCount the CPUs that this process may use; `root` stands before the paths read."},
    {"build_info", build_info, METH_NOARGS,
     "build_info()\n--\n\nTell how this was built, and which CPU level was chosen, of which, and why."},
    {nullptr, nullptr, 0, nullptr},
};

static bool add_functions(PyObject *module) {
    PyObject *functions = PyDict_New();
    PyObject *name = PyUnicode_FromString("llamacffi.llama_cpp");
    bool good = functions && name;
    for (entry &one : entries) {
        PyObject *function = good ? PyCFunction_NewEx(&one.fast, nullptr, name) : nullptr;
        good = function && PyDict_SetItemString(functions, one.fast.ml_name, function) == 0;
        Py_XDECREF(function);
    }
    good = good && PyModule_AddObjectRef(module, "functions", functions) == 0;
    Py_XDECREF(functions);
    Py_XDECREF(name);
    return good && PyModule_AddFunctions(module, own_functions) == 0;
}

// cffi finds its functions in a table of globals, which is sorted by name, as ours is.
static const struct _cffi_type_context_s *with_entries(const struct _cffi_type_context_s *context) {
    static std::vector<_cffi_global_s> globals(context->globals, context->globals + context->num_globals);
    static struct _cffi_type_context_s own = *context;
    size_t next = 0;
    for (_cffi_global_s &global : globals) {
        if (next == std::size(entries) || compare(entries[next].fast.ml_name, global.name) != 0) continue;
        global.address = reinterpret_cast<void *>(entries[next++].plain);
    }
    own.globals = globals.data();
    return next == std::size(entries) ? &own : nullptr;
}

}  // namespace llamacffi

static PyObject *llamacffi_init(const char *name, Py_ssize_t version, const struct _cffi_type_context_s *context) {
    if (llamacffi::interpreter) return llamacffi::refuse_interpreter();
    const struct _cffi_type_context_s *own = llamacffi::with_entries(context);
    if (!own) {
        PyErr_SetString(PyExc_ImportError, "the tables of the border do not match cffi's; build llamacffi again");
        return nullptr;
    }
    if (!llamacffi::choose_cpu_level() || !llamacffi::find_devices()) return nullptr;
    if (!llamacffi::make_border_lock() || !llamacffi::load_ctypes() || !llamacffi::load_cffi() ||
        !llamacffi::load_lent_type())
        return nullptr;
    PyObject *module = _cffi_init(name, version, own);
    if (!module) return nullptr;
    llamacffi::interpreter = PyInterpreterState_Get();
    llamacffi::cffi = llamacffi::own_converters();
    llamacffi::cffi_lib = PyObject_GetAttrString(module, "lib");
    if (llamacffi::cffi_lib && llamacffi::register_at_fork() && llamacffi::add_exceptions(module) &&
        llamacffi::add_functions(module) && llamacffi::add_c_api(module)) {
        llamacffi::take_over();
        return module;
    }
    Py_DECREF(module);
    return nullptr;
}
