// cffi's own converters, for cdata: what the wrappers would call if border.h did not stand between.
//
// cffi reaches its backend through a table that is static in the generated file, so its functions come here as
// pointers, set when the module is loaded.
#pragma once

#include "core/python.h"

struct _cffi_ctypedescr;

namespace llamacffi {

struct cffi_functions {
    Py_ssize_t (*prepare_pointer)(_cffi_ctypedescr *, PyObject *, char **);
    char *(*to_pointer)(PyObject *, _cffi_ctypedescr *);
    int (*to_value)(char *, _cffi_ctypedescr *, PyObject *);
    long long (*to_integer)(PyObject *);
};

extern cffi_functions cffi;
extern PyObject *cffi_lib;

bool load_cffi();

bool is_cdata(PyObject *object);

// How many bytes are behind cdata: an array, or what `ffi.new` made; otherwise unknown_size.
size_t cffi_size(PyObject *given);

// An entry of the generated type table. cffi fills in a function's entries when `lib` is first asked for that
// function; until then they are odd numbers.
using ctype_slot = void **;

// 0 when `given` is cdata of that pointer type; an exception is set otherwise.
Py_ssize_t cffi_pointer(ctype_slot slot, const char *function, PyObject *given, char **target);
char *cffi_function(ctype_slot slot, const char *function, PyObject *given);
int cffi_value(char *target, ctype_slot slot, const char *function, PyObject *given);

// Whether `given` is an integer to cffi: it refuses floats and pointers.
bool is_cffi_integer(PyObject *given);

}  // namespace llamacffi
