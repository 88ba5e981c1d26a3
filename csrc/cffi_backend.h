// cffi's own converters, for cdata: what the wrappers would call if border.h did not stand between.
#pragma once

#include <Python.h>

namespace llamacffi {

static PyTypeObject *cdata_type;
static PyObject *cffi_lib;

// An entry of the generated type table. cffi fills in a function's entries when `lib` is first asked for that
// function; until then they are odd numbers.
using ctype_slot = void **;

static struct _cffi_ctypedescr *realized(ctype_slot slot, const char *function) {
    if (reinterpret_cast<uintptr_t>(*slot) & 1) Py_XDECREF(PyObject_GetAttrString(cffi_lib, function));
    return reinterpret_cast<uintptr_t>(*slot) & 1 ? nullptr : static_cast<struct _cffi_ctypedescr *>(*slot);
}

static bool load_cffi() {
    PyObject *backend = PyImport_ImportModule("_cffi_backend");
    PyObject *type = backend ? PyObject_GetAttrString(backend, "_CDataBase") : nullptr;
    Py_XDECREF(backend);
    cdata_type = reinterpret_cast<PyTypeObject *>(type);
    return cdata_type != nullptr;
}

static bool is_cdata(PyObject *object) { return PyType_IsSubtype(Py_TYPE(object), cdata_type) != 0; }

// 0 when `given` is cdata of that pointer type; an exception is set otherwise.
static Py_ssize_t cffi_pointer(ctype_slot slot, const char *function, PyObject *given, char **target) {
    struct _cffi_ctypedescr *type = realized(slot, function);
    return type ? _cffi_prepare_pointer_call_argument(type, given, target) : -1;
}

static char *cffi_function(ctype_slot slot, const char *function, PyObject *given) {
    struct _cffi_ctypedescr *type = realized(slot, function);
    return type ? _cffi_to_c_pointer(given, type) : nullptr;
}

static int cffi_value(char *target, ctype_slot slot, const char *function, PyObject *given) {
    struct _cffi_ctypedescr *type = realized(slot, function);
    return type ? _cffi_to_c(target, type, given) : -1;
}

// Whether `given` is an integer to cffi: it refuses floats and pointers.
static bool is_cffi_integer(PyObject *given) {
    if (_cffi_to_c_i64(given) != -1 || !PyErr_Occurred()) return true;
    const bool large = PyErr_ExceptionMatches(PyExc_OverflowError);
    PyErr_Clear();
    return large;
}

}  // namespace llamacffi
