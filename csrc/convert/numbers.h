// Python objects into C numbers: int, bool, float, NumPy scalars, ctypes and cffi numbers.
#pragma once

#include "core/python.h"

#include <limits>
#include <type_traits>

#include "core/call.h"

namespace llamacffi {

// An integer out of anything that is one; a new reference, or nullptr with an exception.
PyObject *as_index(const call &c, const parameter_row &row, PyObject *given);

// A number that the C type cannot hold: refused, or the bits that C would keep of it, with a warning.
bool refuse_range(const call &c, const parameter_row &row, PyObject *number);
bool wrap_or_refuse(const call &c, const parameter_row &row, PyObject *number, unsigned long long *bits);
bool convert_floating(const call &c, const parameter_row &row, PyObject *given, double *target);
bool convert_boolean(PyObject *given, bool *target);

template <typename T>
bool out_of_range(const call &c, const parameter_row &row, PyObject *number, T *target) {
    unsigned long long bits = 0;
    const bool wrapped = wrap_or_refuse(c, row, number, &bits);
    *target = static_cast<T>(bits);
    return wrapped;
}

template <typename T>
bool integer_from_long(const call &c, const parameter_row &row, PyObject *number, T *target) {
    if constexpr (std::is_signed_v<T>) {
        int overflow = 0;
        const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
        if (overflow || value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max())
            return out_of_range(c, row, number, target);
        *target = static_cast<T>(value);
        return true;
    } else {
        const unsigned long long value = PyLong_AsUnsignedLongLong(number);
        if ((value == ~0ull && PyErr_Occurred()) || value > std::numeric_limits<T>::max())
            return out_of_range(c, row, number, target);
        *target = static_cast<T>(value);
        return true;
    }
}

template <typename T>
bool convert_integer(const call &c, const parameter_row &row, PyObject *given, T *target) {
    if (PyLong_CheckExact(given)) return integer_from_long(c, row, given, target);
    PyObject *number = as_index(c, row, given);
    const bool done = number && integer_from_long(c, row, number, target);
    Py_XDECREF(number);
    return done;
}

// -1 with an exception where it is no such number, as cffi's own converters answer.
template <typename T>
inline T convert_number(const call &c, const parameter_row &row, PyObject *given) {
    if constexpr (std::is_same_v<T, bool>) {
        if (given == Py_True) return true;
        if (given == Py_False) return false;
        bool value = false;
        return convert_boolean(given, &value) ? value : static_cast<T>(-1);
    } else if constexpr (std::is_floating_point_v<T>) {
        double value = PyFloat_CheckExact(given) ? PyFloat_AsDouble(given) : 0;
        if (PyFloat_CheckExact(given) || convert_floating(c, row, given, &value)) return static_cast<T>(value);
        return static_cast<T>(-1);
    } else {
        if (PyLong_CheckExact(given)) {
            int overflow;
            const long long number = PyLong_AsLongLongAndOverflow(given, &overflow);
            const T same = static_cast<T>(number);
            if (static_cast<long long>(same) == number && !overflow && (std::is_signed_v<T> || number >= 0))
                return same;
        }
        T value = 0;
        return convert_integer(c, row, given, &value) ? value : static_cast<T>(-1);
    }
}

// Convert a number whose C type is only known from its row, to see whether it converts.
bool number_by_row(const call &c, const parameter_row &row, PyObject *given);

// Fill a block with the numbers of a tuple, by the row's item type.
bool fill_numbers(const call &c, const parameter_row &row, PyObject *tuple, void *block);

}  // namespace llamacffi
