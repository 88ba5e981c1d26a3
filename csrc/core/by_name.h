// Calls that are not simply all arguments by position: by name, mixed, or wrong.
#pragma once

#include "core/python.h"

#include "core/tables.h"

namespace llamacffi {

// Python's own name for it is in the stable ABI since 3.12; so is the type's flag, which means the same in 3.11.
using vectorcall = PyObject *(*)(PyObject *self, PyObject *const *arguments, size_t count, PyObject *names);

// How many positional arguments there are; without the bit by which CPython says that it lends the place before them.
inline Py_ssize_t positional(size_t count) { return static_cast<Py_ssize_t>(count & (SIZE_MAX >> 1)); }

#ifdef Py_GIL_DISABLED

inline bool came_in_order(const function_row &, Py_ssize_t, PyObject *) { return false; }

#else

// The tuple of names, kept, and the number of arguments before them, by which a function was last called with all in
// the order of its parameters. A place in a program gives the same tuple each time.
struct order {
    PyObject *names;
    Py_ssize_t count;
};

extern order orders[std::size(function_rows)];

inline bool came_in_order(const function_row &function, Py_ssize_t count, PyObject *names) {
    const order &last = orders[&function - function_rows];
    return names == last.names && count == last.count;
}

#endif

// Put the arguments into their places and enter; or raise TypeError in Python's own words. Behind the `count` that came
// by position stand those whose names are in the tuple `names`, which may be nullptr.
PyObject *call_by_name(const function_row &function, PyObject *const *arguments, Py_ssize_t count, PyObject *names,
                       PyObject *(*enter)(PyObject *const *));

}  // namespace llamacffi
