// See cffi_backend.h.
#include "core/cffi_backend.h"

#include <atomic>
#include <cstdint>

#include "core/call.h"

namespace llamacffi {

cffi_functions cffi;
PyObject *cffi_lib;

namespace {

PyTypeObject *cdata_type, *owner_type;
PyObject *buffer_of;  // ffi.buffer

// cffi fills a slot in once, under a lock of its own.
void *in_slot(ctype_slot slot) {
    auto *filled = reinterpret_cast<std::atomic<void *> *>(slot);
    static_assert(sizeof *filled == sizeof *slot && std::atomic<void *>::is_always_lock_free);
    return filled->load(std::memory_order_acquire);
}

bool is_empty(ctype_slot slot) { return reinterpret_cast<uintptr_t>(in_slot(slot)) & 1; }

_cffi_ctypedescr *realized(ctype_slot slot, const char *function) {
    if (is_empty(slot)) Py_XDECREF(PyObject_GetAttrString(cffi_lib, function));
    return is_empty(slot) ? nullptr : static_cast<_cffi_ctypedescr *>(in_slot(slot));
}

}  // namespace

bool load_cffi() {
    PyObject *backend = PyImport_ImportModule("_cffi_backend");
    if (!backend) return false;
    cdata_type = reinterpret_cast<PyTypeObject *>(PyObject_GetAttrString(backend, "_CDataBase"));
    owner_type = reinterpret_cast<PyTypeObject *>(PyObject_GetAttrString(backend, "__CDataOwn"));
    buffer_of = PyObject_GetAttrString(backend, "buffer");
    Py_DECREF(backend);
    return cdata_type && owner_type && buffer_of;
}

bool is_cdata(PyObject *object) { return PyType_IsSubtype(Py_TYPE(object), cdata_type) != 0; }

// `ffi.buffer` has all of an array, and one item of a pointer: which is what `ffi.new` made, if it owns that.
size_t cffi_size(PyObject *given) {
    const bool is_array = PyObject_Size(given) >= 0;
    PyErr_Clear();
    if (!is_array && !PyType_IsSubtype(Py_TYPE(given), owner_type)) return unknown_size;
    PyObject *buffer = PyObject_CallFunctionObjArgs(buffer_of, given, nullptr);
    const Py_ssize_t size = buffer ? PyObject_Size(buffer) : -1;
    Py_XDECREF(buffer);
    PyErr_Clear();
    return size < 0 ? unknown_size : static_cast<size_t>(size);
}

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
