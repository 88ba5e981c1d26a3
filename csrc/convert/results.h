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
bool keep_buffer(PyObject *result, PyObject *given);

template <unsigned Function>
inline bool keep_buffers([[maybe_unused]] PyObject *result, [[maybe_unused]] PyObject *const *arguments) {
    constexpr const function_row &function = function_rows[Function];
    for (unsigned i = 0; i < function.count; ++i) {
        const type_kind kind = parameter_rows[function.first + i].type.kind;
        if (kind != type_kind::ITEMS && kind != type_kind::STRUCT && kind != type_kind::BYTES) continue;
        if (!keep_buffer(result, arguments[i])) return false;
    }
    return true;
}

template <unsigned Function>
inline PyObject *struct_from(const void *result, PyObject *const *arguments) {
    constexpr const type_row &row = function_rows[Function].result;
    static lazy_type type;
    if (!type.load(row.python)) return nullptr;
    PyObject *object = type.make(result, row.size);
    if (object && !keep_buffers<Function>(object, arguments)) Py_CLEAR(object);
    return object;
}

template <unsigned Function>
inline PyObject *from_struct(call &c, const void *result) {
    constexpr const function_row &function = function_rows[Function];
    PyObject *object = struct_from<Function>(result, c.arguments);
    if constexpr (function.after != nullptr) function.after(c, result);
    return object;
}

}  // namespace llamacffi
