// Python objects into pointers: buffers, ctypes arrays, structs, pointers and `byref`, cdata, text, lists of numbers.
//
// Nothing is converted that the table in docs/border.md does not list.
#pragma once

#include "core/call.h"
#include "core/cffi_backend.h"

namespace llamacffi {

// Every kind of pointer but handles and functions.
bool convert_memory(call &c, const parameter_row &row, ctype_slot type, PyObject *given, char **target);

// Raise TypeError: what is accepted for the row's type. Returns false.
bool refuse_argument(const call &c, const parameter_row &row, PyObject *given);

}  // namespace llamacffi
