// See cffi_backend.h.
#include "core/cffi_backend.h"

#include <cstdint>

namespace llamacffi {

cffi_functions cffi;
PyObject *cffi_lib;

namespace {

PyTypeObject *cdata_type;

_cffi_ctypedescr *realized(ctype_slot slot, const char *function) {
    if (reinterpret_cast<uintptr_t>(*slot) & 1) Py_XDECREF(PyObject_GetAttrString(cffi_lib, function));
    return reinterpret_cast<uintptr_t>(*slot) & 1 ? nullptr : static_cast<_cffi_ctypedescr *>(*slot);
}

}  // namespace

bool load_cffi() {
    PyObject *backend = PyImport_ImportModule("_cffi_backend");
    PyObject *type = backend ? PyObject_GetAttrString(backend, "_CDataBase") : nullptr;
    Py_XDECREF(backend);
    cdata_type = reinterpret_cast<PyTypeObject *>(type);
    return cdata_type != nullptr;
}

bool is_cdata(PyObject *object) { return PyType_IsSubtype(Py_TYPE(object), cdata_type) != 0; }

Py_ssize_t cffi_pointer(ctype_slot slot, const char *function, PyObject *given, char **target) {
    _cffi_ctypedescr *type = realized(slot, function);
    return type ? cffi.prepare_pointer(type, given, target) : -1;
}

char *cffi_function(ctype_slot slot, const char *function, PyObject *given) {
    _cffi_ctypedescr *type = realized(slot, function);
    return type ? cffi.to_pointer(given, type) : nullptr;
}

int cffi_value(char *target, ctype_slot slot, const char *function, PyObject *given) {
    _cffi_ctypedescr *type = realized(slot, function);
    return type ? cffi.to_value(target, type, given) : -1;
}

bool is_cffi_integer(PyObject *given) {
    if (cffi.to_integer(given) != -1 || !PyErr_Occurred()) return true;
    const bool large = PyErr_ExceptionMatches(PyExc_OverflowError);
    PyErr_Clear();
    return large;
}

}  // namespace llamacffi
