// Loops over C's functions, for llamacffi.arrays: as built-in functions with positional arguments. A `ctype` is the
// cffi type of the handle before it.
#pragma once

#include "core/python.h"

namespace llamacffi {

// pieces(vocab, ctype, tokens, special): a list of bytes.
PyObject *pieces(PyObject *, PyObject *arguments);

// metadata(model, ctype): a dict of str.
PyObject *metadata(PyObject *, PyObject *arguments);

// fill_batch(batch, ctype, tokens, pos, seq_ids, logits): all but `n_tokens`, out of buffers of C's types.
PyObject *fill_batch(PyObject *, PyObject *arguments);

}  // namespace llamacffi
