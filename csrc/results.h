// C results into Python objects: bytes, ints, ctypes pointers and structs, by the kind in the function's row.
#pragma once

#include <Python.h>

#include <string>

#include "call.h"
#include "ctypes_objects.h"
#include "batches.h"
#include "handles.h"

namespace llamacffi {

static PyObject *none() {
    Py_INCREF(Py_None);
    return Py_None;
}

template <unsigned Function>
static inline PyObject *from_enum(const void *result) {
    constexpr const type_row &row = llamacffi_functions[Function].result;
    static_assert(row.what == kind::ENUM && row.size == sizeof(int));
    int number;
    std::memcpy(&number, result, sizeof number);
    return row.shape == 'u' ? PyLong_FromUnsignedLong(static_cast<unsigned>(number)) : PyLong_FromLong(number);
}

// The ctypes type of a pointer to the row's items.
static bool load_pointer(lazy_type &type, const type_row &row) {
    if (type.type) return true;
    return type.load(row.what == kind::FUNCTION ? row.python : (std::string("POINTER(") + row.python + ")").c_str());
}

template <unsigned Function>
static inline PyObject *from_pointer(call &c, const char *result) {
    constexpr const type_row &row = llamacffi_functions[Function].result;
    if (row.what == kind::HANDLE || row.what == kind::OBJECT) {
        c.owner = result;
        remember_handle<Function>(c, result);
        if constexpr (compare(llamacffi_functions[Function].name, "llama_sampler_chain_remove") == 0)
            disown_sampler(result);
    }
    if constexpr (row.what == kind::TEXT || row.what == kind::CHARS) {
        return result ? PyBytes_FromString(result) : none();
    } else if constexpr (row.what == kind::HANDLE || row.what == kind::BYTES) {
        return result ? PyLong_FromVoidPtr(const_cast<char *>(result)) : none();
    } else {
        static lazy_type type;
        if (!load_pointer(type, row)) return nullptr;
        return type.make(&result, sizeof result);
    }
}

// What has a buffer that could be moved (a bytearray, an array.array) is kept with that buffer held.
static bool keep_buffer(PyObject *result, PyObject *name, PyObject *given) {
    if (is_ctypes(given) || PyBytes_Check(given) || !PyObject_CheckBuffer(given))
        return PyObject_GenericSetAttr(result, name, given) == 0;
    PyObject *view = PyMemoryView_FromObject(given);
    const bool done = view && PyObject_GenericSetAttr(result, name, view) == 0;
    Py_XDECREF(view);
    return done;
}

// A struct that was returned by value keeps alive the buffers that went in: it may point into them.
static bool keep_buffers(const call &c, PyObject *result) {
    static PyObject *name = PyUnicode_InternFromString("_buffers");
    for (unsigned i = 0; i < c.what.count; ++i) {
        const kind what = c.parameters()[i].type.what;
        if (what != kind::ITEMS && what != kind::STRUCT && what != kind::BYTES) continue;
        if (!keep_buffer(result, name, c.arguments[i])) return false;
    }
    return true;
}

template <unsigned Function>
static inline PyObject *from_struct(const call &c, const void *result) {
    constexpr const function &what = llamacffi_functions[Function];
    static lazy_type type;
    if (!type.load(what.result.python)) return nullptr;
    PyObject *object = type.make(result, what.result.size);
    if (what.count && object && !keep_buffers(c, object)) Py_CLEAR(object);
    if constexpr (compare(what.name, "llama_batch_init") == 0)
        remember_batch(*static_cast<const llama_batch *>(result), c.numbers);
    return object;
}

}  // namespace llamacffi
