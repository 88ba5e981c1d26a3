// cffi's own converters, for cdata: what the wrappers would call if border.h did not stand between.
#pragma once

#include <Python.h>

namespace llamacffi {

static PyTypeObject *cdata_type;

static bool load_cffi() {
    PyObject *backend = PyImport_ImportModule("_cffi_backend");
    PyObject *type = backend ? PyObject_GetAttrString(backend, "_CDataBase") : nullptr;
    Py_XDECREF(backend);
    cdata_type = reinterpret_cast<PyTypeObject *>(type);
    return cdata_type != nullptr;
}

static bool is_cdata(PyObject *object) { return PyType_IsSubtype(Py_TYPE(object), cdata_type) != 0; }

// 0 when `given` is cdata of that pointer type; an exception is set otherwise.
static Py_ssize_t cffi_pointer(struct _cffi_ctypedescr *type, PyObject *given, char **target) {
    return _cffi_prepare_pointer_call_argument(type, given, target);
}

static char *cffi_function(PyObject *given, struct _cffi_ctypedescr *type) { return _cffi_to_c_pointer(given, type); }

static int cffi_value(char *target, struct _cffi_ctypedescr *type, PyObject *given) {
    return _cffi_to_c(target, type, given);
}

static PyObject *cffi_enum(char *value, struct _cffi_ctypedescr *type) { return _cffi_from_c_deref(value, type); }

}  // namespace llamacffi
