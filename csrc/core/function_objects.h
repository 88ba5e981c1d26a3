// llama.cpp's functions with attributes, as ctypes' have them, for code that is made for ctypes. CPython calls built-in
// functions, which can have none, by a shorter way: so these are only there where llamacffi stands for llama_cpp.
//
// What is set on one (`argtypes`, `restype`, anything) is kept, and has no effect on its calls. What was not set and
// code for ctypes asks for, `llamacffi.ctypes_types.function_attribute` makes.
#pragma once

#include "core/python.h"

#include "core/by_name.h"
#include "core/tables.h"

namespace llamacffi {

bool load_function_type();

// A new reference.
PyObject *make_function(const function_row &row, vectorcall call);

}  // namespace llamacffi
