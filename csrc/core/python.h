// Python.h, with references counted by the stable ABI's functions, where that is what is compiled for.
//
// The inline ones of a CPython's headers know which counts are immortal on that CPython. On a later one they move the
// count of None, of small integers or of types a little with each call, until it ends at 0.
#pragma once

#include <Python.h>

#ifdef Py_LIMITED_API
#undef Py_INCREF
#undef Py_DECREF
#undef Py_XINCREF
#undef Py_XDECREF
#undef Py_NewRef
#undef Py_XNewRef

// Must be macros: they replace macros, also those that Py_CLEAR and cffi's wrappers use.
#define Py_INCREF(object) Py_IncRef((PyObject *)(object))
#define Py_DECREF(object) Py_DecRef((PyObject *)(object))
#define Py_XINCREF(object) Py_IncRef((PyObject *)(object))
#define Py_XDECREF(object) Py_DecRef((PyObject *)(object))
#endif
