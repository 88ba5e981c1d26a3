// C results into Python objects: bytes, ints, ctypes pointers and structs, by the kind in the function's row.
#pragma once

#include "core/python.h"

#include <cstring>

#include "checks/handle_table.h"
#include "core/ctypes_objects.h"

namespace llamacffi {

inline PyObject *none() {
    Py_INCREF(Py_None);
    return Py_None;
}

template <unsigned Function>
inline PyObject *from_enum(const void *result) {
    constexpr const type_row &row = function_rows[Function].result;
    static_assert(row.kind == type_kind::ENUM && row.size == sizeof(int));
    int number;
    std::memcpy(&number, result, sizeof number);
    return row.shape == 'u' ? PyLong_FromUnsignedLong(static_cast<unsigned>(number)) : PyLong_FromLong(number);
}

// The ctypes type of a pointer to the row's items.
bool load_pointer(lazy_type &type, const type_row &row);

template <unsigned Function>
inline PyObject *from_pointer(call &c, const char *result) {
    constexpr const type_row &row = function_rows[Function].result;
    if constexpr (row.kind == type_kind::HANDLE || row.kind == type_kind::OBJECT) {
        c.owner = result;
        remember_handle<Function>(c, result);
        if constexpr (function_rows[Function].after != nullptr) {
            if (result) function_rows[Function].after(c, result);
        }
    }
    if constexpr (function_rows[Function].as_pointer) {
        static lazy_type type;
        if (!result) return none();
        return type.load("POINTER(c_void_p)") ? type.make(&result, sizeof result) : nullptr;
    } else if constexpr (row.kind == type_kind::TEXT || row.kind == type_kind::CHARS) {
        return result ? PyBytes_FromString(result) : none();
    } else if constexpr (row.kind == type_kind::HANDLE || row.kind == type_kind::BYTES) {
        return result ? PyLong_FromVoidPtr(const_cast<char *>(result)) : none();
    } else {
        static lazy_type type;
        if (!type.type && !load_pointer(type, row)) return nullptr;
        return type.make(&result, sizeof result);
    }
}

// A new reference to what keeps the memory of `given` where it is: what could be moved (a bytearray, an array.array)
// with its buffer held.
PyObject *pinned(PyObject *given);

// A struct that was returned by value keeps alive the buffers that went in: it may point into them.
bool keep_buffers(const call &c, PyObject *result);

template <unsigned Function>
inline PyObject *from_struct(call &c, const void *result) {
    constexpr const function_row &function = function_rows[Function];
    static lazy_type type;
    if (!type.load(function.result.python)) return nullptr;
    PyObject *object = type.make(result, function.result.size);
    if (function.count && object && !keep_buffers(c, object)) Py_CLEAR(object);
    if constexpr (function.after != nullptr) function.after(c, result);
    return object;
}

}  // namespace llamacffi
