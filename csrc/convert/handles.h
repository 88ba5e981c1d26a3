// Handles: the int that a function returned, what a c_void_p holds, cdata; and structs of the caller's own in their
// place.
#pragma once

#include "checks/handle_table.h"
#include "checks/values.h"
#include "convert/known_types.h"
#include "convert/memory.h"
#include "core/call.h"

namespace llamacffi {

// The address, whatever is there; NULL only where the row takes it.
bool convert_handle(call &c, const parameter_row &row, ctype_slot type, PyObject *given, char **target);

// Whether a struct that the table refuses is the caller's own, given as itself, by reference or by a pointer that
// knows it: ctypes may have made it where something was freed before. The refusal is taken back then.
bool trust_struct(PyObject *given);

// A number says nothing about what is there; a ctypes object or cdata has a type.
bool is_sampler(const void *address, PyObject *given);
bool refuse_number_for_sampler(const call &c, const parameter_row &row);

template <unsigned Row>
inline bool convert_pointer_by_kind(call &c, ctype_slot type, PyObject *given, char **target) {
    constexpr const parameter_row &row = parameter_rows[Row];
    if constexpr (row.type.kind == type_kind::HANDLE) {
        if (PyLong_CheckExact(given)) {
            const size_t address = PyLong_AsSize_t(given);
            *target = reinterpret_cast<char *>(address);
            if (address && address != SIZE_MAX) return true;
            PyErr_Clear();
        }
        return convert_handle(c, row, type, given, target);
    } else if constexpr (row.type.kind == type_kind::OBJECT) {
        void *address = is_known_pointer(row, given) ? pointer_in(given) : nullptr;
        if (address) return note_memory(c, row, target, address, unknown_size);
        return convert_handle(c, row, type, given, target);
    } else {
        return convert_memory(c, row, type, given, target);
    }
}

// A pointer argument of any kind, checked; 0, or -1 with an exception.
template <unsigned Function, unsigned Row>
inline Py_ssize_t convert_pointer(call &c, ctype_slot type, PyObject *given, char **target) {
    constexpr const parameter_row &row = parameter_rows[Row];
    constexpr unsigned position = Row - function_rows[Function].first;
    constexpr bool is_object = row.type.kind == type_kind::OBJECT;
    if (!convert_pointer_by_kind<Row>(c, type, given, target)) return -1;
    if constexpr (is_object || row.type.kind == type_kind::HANDLE) {
        c.addresses[position] = *target;
        if (!check_handle<Row>(c, *target) && (!is_object || !trust_struct(given))) return -1;
    }
    if constexpr (is_object) {
        if (*target && !is_sampler(*target, given)) return refuse_number_for_sampler(c, row), -1;
    }
    if constexpr (row.required) {
        if (!*target) return refuse_null(c, row), -1;
    }
    if constexpr (row.type.kind == type_kind::STRUCT) {
        if (*target && c.sizes[position] >= row.type.size && !check_value<Row>(c, *target)) return -1;
    }
    if constexpr (position == 0) c.owner = *target;
    return 0;
}

}  // namespace llamacffi
