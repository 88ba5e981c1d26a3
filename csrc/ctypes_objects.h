// ctypes objects seen from C: which kind one is, where its memory is, and how to make one.
//
// ctypes has no C interface. What is needed of its layout (where an object keeps the address of its memory) is
// found by looking for a known address in a known object when the module is loaded, and asked of
// `ctypes.addressof` where it was not found.
#pragma once

#include <Python.h>

#include <cstring>

namespace llamacffi {

static PyTypeObject *array_type, *pointer_type, *struct_type, *union_type, *simple_type, *function_type, *byref_type;
static PyObject *addressof, *types_module_get, *empty_tuple;
static Py_ssize_t memory_offset = -1;  // of the pointer to an object's memory, in a ctypes object
static Py_ssize_t byref_offset = -1;   // of the address, in what `ctypes.byref` returns

// The metatype of a ctypes object says whether it is an array, a pointer, a struct, …
static PyTypeObject *metatype(PyObject *object) { return Py_TYPE(reinterpret_cast<PyObject *>(Py_TYPE(object))); }

static char *ask_address(PyObject *object) {
    PyObject *address = PyObject_CallFunctionObjArgs(addressof, object, nullptr);
    char *memory = address ? static_cast<char *>(PyLong_AsVoidPtr(address)) : nullptr;
    Py_XDECREF(address);
    return memory;
}

// Where the value of a ctypes object stands.
static inline char *memory_of(PyObject *object) {
    if (memory_offset < 0) return ask_address(object);
    return *reinterpret_cast<char **>(reinterpret_cast<char *>(object) + memory_offset);
}

static Py_ssize_t find_word(PyObject *object, const void *word) {
    PyObject *size = PyObject_GetAttrString(reinterpret_cast<PyObject *>(Py_TYPE(object)), "__basicsize__");
    const Py_ssize_t end = size ? PyLong_AsSsize_t(size) : 0;
    Py_XDECREF(size);
    for (Py_ssize_t at = sizeof(PyObject); at + Py_ssize_t(sizeof(void *)) <= end; at += sizeof(void *)) {
        if (std::memcmp(reinterpret_cast<char *>(object) + at, &word, sizeof word) == 0) return at;
    }
    return -1;
}

// The address in what `ctypes.byref(object, offset)` returned.
static char *byref_address(PyObject *reference) {
    if (byref_offset >= 0) return *reinterpret_cast<char **>(reinterpret_cast<char *>(reference) + byref_offset);
    PyErr_SetString(PyExc_TypeError, "this Python's ctypes.byref is unknown here; use ctypes.pointer instead");
    return nullptr;
}

static bool probe_layout(PyObject *ctypes) {
    PyObject *sample = PyObject_CallMethod(ctypes, "c_int", nullptr);
    PyObject *reference = sample ? PyObject_CallMethod(ctypes, "byref", "O", sample) : nullptr;
    char *address = reference ? ask_address(sample) : nullptr;
    if (address) {
        memory_offset = find_word(sample, address);
        byref_offset = find_word(reference, address);
        byref_type = Py_TYPE(reference);
        Py_INCREF(reinterpret_cast<PyObject *>(byref_type));
    }
    Py_XDECREF(sample);
    Py_XDECREF(reference);
    return address != nullptr;
}

static PyTypeObject *metatype_named(PyObject *ctypes, const char *name) {
    PyObject *type = PyObject_GetAttrString(ctypes, name);
    if (!type) return nullptr;
    PyTypeObject *meta = Py_TYPE(type);
    Py_INCREF(reinterpret_cast<PyObject *>(meta));
    Py_DECREF(type);
    return meta;
}

static bool load_ctypes() {
    PyObject *ctypes = PyImport_ImportModule("ctypes");
    if (!ctypes) return false;
    array_type = metatype_named(ctypes, "Array");
    pointer_type = metatype_named(ctypes, "_Pointer");
    struct_type = metatype_named(ctypes, "Structure");
    union_type = metatype_named(ctypes, "Union");
    simple_type = metatype_named(ctypes, "c_int");
    function_type = metatype_named(ctypes, "_CFuncPtr");
    addressof = PyObject_GetAttrString(ctypes, "addressof");
    empty_tuple = PyTuple_New(0);
    const bool done = array_type && pointer_type && struct_type && union_type && simple_type && function_type &&
                      addressof && empty_tuple && probe_layout(ctypes);
    Py_DECREF(ctypes);
    return done;
}

static bool is_ctypes(PyObject *object) {
    PyTypeObject *meta = metatype(object);
    return meta == array_type || meta == pointer_type || meta == struct_type || meta == union_type ||
           meta == simple_type || meta == function_type;
}

// The ctypes type of a C type: `llamacffi.ctypes_types.named(name)`, imported on first use.
static PyObject *type_named(const char *name) {
    if (!types_module_get) {
        PyObject *module = PyImport_ImportModule("llamacffi.ctypes_types");
        types_module_get = module ? PyObject_GetAttrString(module, "named") : nullptr;
        Py_XDECREF(module);
        if (!types_module_get) return nullptr;
    }
    return PyObject_CallFunction(types_module_get, "s", name);
}

// A ctypes type that is asked for once and then made without Python code: `make` is an instance with zeroed memory.
struct lazy_type {
    PyObject *type = nullptr;
    newfunc create = nullptr;

    bool load(const char *name) {
        if (type) return true;
        type = type_named(name);
        if (!type) return false;
        create = reinterpret_cast<newfunc>(PyType_GetSlot(reinterpret_cast<PyTypeObject *>(type), Py_tp_new));
        return true;
    }

    PyObject *make(const void *value, size_t size) {
        PyObject *object = create(reinterpret_cast<PyTypeObject *>(type), empty_tuple, nullptr);
        char *memory = object ? memory_of(object) : nullptr;
        if (memory)
            std::memcpy(memory, value, size);
        else
            Py_CLEAR(object);
        return object;
    }
};

}  // namespace llamacffi
