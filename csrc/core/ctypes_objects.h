// ctypes objects seen from C: which kind one is, where its memory is, and how to make one.
//
// ctypes has no C interface. What is needed of its layout (where an object keeps the address of its memory) is
// found by looking for a known address in a known object when the module is loaded, and asked of
// `ctypes.addressof` where it was not found.
#pragma once

#include "core/python.h"

#include <cstring>

namespace llamacffi {

extern PyTypeObject *array_type, *pointer_type, *struct_type, *union_type, *simple_type, *function_type, *byref_type;
extern PyObject *empty_tuple;
extern PyObject *buffers_name;    // of the attribute in which a struct by value keeps the buffers that went in
extern PyObject *objects_name;    // of the one in which ctypes keeps what has been put into a struct or a pointer
extern Py_ssize_t memory_offset;  // of the pointer to an object's memory, in a ctypes object; below zero it is unknown
extern Py_ssize_t array_size_offset;  // of the number of its bytes, in a ctypes array; below zero it is unknown

bool load_ctypes();

// The metatype of a ctypes object says whether it is an array, a pointer, a struct, …
inline PyTypeObject *metatype(PyObject *object) { return Py_TYPE(reinterpret_cast<PyObject *>(Py_TYPE(object))); }

char *ask_address(PyObject *object);

// Where the value of a ctypes object stands.
inline char *memory_of(PyObject *object) {
    if (memory_offset < 0) return ask_address(object);
    return *reinterpret_cast<char **>(reinterpret_cast<char *>(object) + memory_offset);
}

// How many bytes a ctypes array has, which is more than its type says where it was resized.
inline size_t size_of_array(PyObject *array) {
    return *reinterpret_cast<size_t *>(reinterpret_cast<char *>(array) + array_size_offset);
}

// The address in what `ctypes.byref(object, offset)` returned.
char *byref_address(PyObject *reference);

bool is_ctypes(PyObject *object);

// The ctypes type of a C type: `llamacffi.ctypes_types.named(name)`, imported on first use.
PyObject *type_named(const char *name);

// How many bytes the objects of a type have, which the stable ABI does not say.
Py_ssize_t size_of_objects(PyTypeObject *type);

// An attribute, or nullptr without an exception.
PyObject *attribute(PyObject *object, const char *name);

// One that a ctypes type has itself, found by its interned name, and not by a class's own `__getattr__`.
PyObject *own_attribute(PyObject *object, PyObject *name);

// Act on each value of a dict, until `act` says that it is enough. They are copied: another thread may change the dict.
template <typename Act>
void for_values(PyObject *dict, Act act) {
    PyObject *values = PyDict_Check(dict) ? PyDict_Values(dict) : nullptr;
    for (Py_ssize_t i = 0; values && i < PyList_Size(values) && act(PyList_GetItem(values, i)); ++i) {
    }
    if (PyDict_Check(dict) && !values) PyErr_Clear();
    Py_XDECREF(values);
}

// How many items the ctypes array has, or the bytes, that a struct's `_objects` (dicts and tuples) keep for the pointer
// `memory`, or SIZE_MAX.
size_t items_behind(PyObject *objects, const void *memory, int depth = 4);

// A ctypes type that is asked for once and then made without Python code: `make` is an instance with zeroed memory.
struct lazy_type {
    PyObject *type = nullptr;
    newfunc create = nullptr;

    bool load(const char *name) { return type || ask(name); }

    PyObject *make(const void *value, size_t size) {
        PyObject *object = create(reinterpret_cast<PyTypeObject *>(type), empty_tuple, nullptr);
        char *memory = object ? memory_of(object) : nullptr;
        if (memory)
            std::memcpy(memory, value, size);
        else
            Py_CLEAR(object);
        return object;
    }

  private:
    bool ask(const char *name);
};

}  // namespace llamacffi
