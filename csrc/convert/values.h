// Callbacks, and what C takes by value: structs and enums.
#pragma once

#include "core/call.h"
#include "core/cffi_backend.h"

namespace llamacffi {

// The address of a callback, or nullptr for None; nullptr with an exception otherwise.
char *convert_callback(call &c, const parameter_row &row, ctype_slot type, PyObject *given);

// A struct by value, or an enum.
bool convert_value(call &c, const parameter_row &row, ctype_slot type, PyObject *given, char *target);

// Convert an argument by its row alone. The wrappers choose at compile time; this is the same choice at run time.
bool convert_by_row(call &c, const parameter_row &row, ctype_slot type, PyObject *given, char **target);

}  // namespace llamacffi
