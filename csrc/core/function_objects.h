// llama.cpp's functions with attributes, as ctypes' have them, for code that is made for ctypes. CPython calls built-in
// functions, which can have none, by a shorter way: so these are only there where llamacffi stands for llama_cpp.
//
// What is set on one (`argtypes`, `restype`, anything) is kept, and has no effect on its calls. What was not set and
// code for ctypes asks for, `llamacffi.ctypes_types.function_attribute` makes.
#pragma once

#include "core/python.h"

#include "core/tables.h"

namespace llamacffi {

// Python's own name for it is in the stable ABI since 3.12; so is the type's flag, which means the same in 3.11.
using vectorcall = PyObject *(*)(PyObject *self, PyObject *const *arguments, size_t count, PyObject *names);

bool load_function_type();

// A new reference.
PyObject *make_function(const function_row &row, vectorcall call);

// How many positional arguments there are; without the bit by which CPython says that it lends the place before them.
inline Py_ssize_t positional(size_t count) { return static_cast<Py_ssize_t>(count & (SIZE_MAX >> 1)); }

// Raise TypeError: these functions have positional parameters only.
PyObject *refuse_keywords(const function_row &row);

// Whether a call with another number of arguments must end: too few, or too many where C never had more.
bool refuse_count(const function_row &row, Py_ssize_t count);

}  // namespace llamacffi
