// What the items behind a pointer are, and whether an object's items can be read as them.
#pragma once

#include "core/call.h"

namespace llamacffi {

// The shape of an item (i signed, u unsigned, f float, b bool, c character, p pointer, s struct, > anything else) by
// its letter in the struct module, and by a buffer's format.
char shape_of_letter(char letter);
char shape_of_format(const char *format);

// Whether items of this shape and size can be read as the row's items.
bool item_fits(const type_row &type, char shape, size_t size);

// The `_type_` letter of a simple ctypes type: the struct module's letters, and z and P for pointers.
char type_code(PyObject *type);

// Whether `type` (a ctypes type) can stand where the row's item type is pointed to.
bool points_to(const parameter_row &row, PyObject *type);

}  // namespace llamacffi
