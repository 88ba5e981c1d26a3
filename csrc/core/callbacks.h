// Exceptions of callbacks, and Ctrl-C, on their way to the call that is running.
//
// The way of an exception out of a Python callback is told in src/llamacffi/ctypes_types.py.
#pragma once

#include <Python.h>

namespace llamacffi {

// guarded(function, stop): wrap a callback; what it raises comes out of the call, and C gets `stop`.
PyObject *guarded(PyObject *, PyObject *function_and_stop);

// Whether the call should come to its end: a callback raised, or Ctrl-C was pressed. Called in C, on the thread of
// the call, where llama.cpp can stop.
bool must_stop();

}  // namespace llamacffi
