// Python objects into pointers: buffers, ctypes arrays, structs, pointers and `byref`, cdata, text, lists of numbers.
//
// Nothing is converted that the table in docs/border.md does not list.
#pragma once

#include "core/call.h"
#include "core/cffi_backend.h"

namespace llamacffi {

// What is known of a pointer; whoever converts one leaves through here, so that no check reads what is not set.
inline bool note_memory(call &c, const parameter_row &row, char **target, void *memory, size_t size) {
    *target = static_cast<char *>(memory);
    c.memory[position_of(c, row)] = memory;
    c.sizes[position_of(c, row)] = memory ? size : null_size;
    return true;
}

// Every kind of pointer but handles and functions.
bool convert_memory(call &c, const parameter_row &row, ctype_slot type, PyObject *given, char **target);

// Raise TypeError: what is accepted for the row's type. Returns false.
bool refuse_argument(const call &c, const parameter_row &row, PyObject *given);

}  // namespace llamacffi
