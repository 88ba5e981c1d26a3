// What a context has computed, lent to a Python function for the time that this runs: for llamacffi.arrays.
//
// A reading is a call that reads the context: it waits for a decode, a decode waits for it, and what the function calls
// is refused what would change the context. The memory is lent as an object with the buffer protocol. Whoever still has
// a buffer of it when the reading ends (an array that a function put away) holds the context: until it has let go,
// nothing may compute in the context or free it. So no array ever shows memory that is gone.
#pragma once

#include "core/python.h"

namespace llamacffi {

bool load_lent_type();

// find_output(ctx, ctype, kind, index): the address of the context, the number of the computation that it is the output
// of, and how many floats it has. The kinds are logits, embeddings of a token, and those of a sequence.
PyObject *find_output(PyObject *, PyObject *arguments);

// read_output(function, address, kind, index, computation): what the function returns, of the lent memory.
PyObject *read_output(PyObject *, PyObject *arguments);

}  // namespace llamacffi
