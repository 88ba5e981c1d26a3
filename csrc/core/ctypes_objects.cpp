// See ctypes_objects.h.
#include "core/ctypes_objects.h"

#include <string>

namespace llamacffi {

PyTypeObject *array_type, *pointer_type, *struct_type, *union_type, *simple_type, *function_type, *byref_type;
PyObject *empty_tuple, *buffers_name, *objects_name;
Py_ssize_t memory_offset = -1, array_size_offset = -1;

Py_ssize_t size_of_objects(PyTypeObject *type) {
    PyObject *size = PyObject_GetAttrString(reinterpret_cast<PyObject *>(type), "__basicsize__");
    const Py_ssize_t bytes = size ? PyLong_AsSsize_t(size) : 0;
    Py_XDECREF(size);
    return bytes;
}

namespace {

PyObject *addressof, *types_module_get;
Py_ssize_t byref_offset = -1;  // of the address, in what `ctypes.byref` returns

Py_ssize_t find_word(PyObject *object, const void *word) {
    const Py_ssize_t begin = size_of_objects(&PyBaseObject_Type), end = size_of_objects(Py_TYPE(object));
    for (Py_ssize_t at = begin; at + Py_ssize_t(sizeof(void *)) <= end; at += sizeof(void *)) {
        if (std::memcmp(reinterpret_cast<char *>(object) + at, &word, sizeof word) == 0) return at;
    }
    return -1;
}

// In arrays of two sizes that nothing else in them has.
Py_ssize_t find_array_size(PyObject *ctypes) {
    constexpr Py_ssize_t items[] = {10'007, 20'011};
    Py_ssize_t found[2] = {-1, -1};
    for (int i = 0; i < 2; ++i) {
        PyObject *item = PyObject_GetAttrString(ctypes, "c_int32");
        PyObject *type = item ? PySequence_Repeat(item, items[i]) : nullptr;
        PyObject *array = type ? PyObject_CallNoArgs(type) : nullptr;
        const Py_ssize_t bytes = items[i] * Py_ssize_t(sizeof(int32_t));
        if (array) found[i] = find_word(array, reinterpret_cast<const void *>(bytes));
        for (PyObject *one : {item, type, array}) Py_XDECREF(one);
    }
    PyErr_Clear();
    return found[0] == found[1] ? found[0] : -1;
}

bool probe_layout(PyObject *ctypes) {
    PyObject *sample = PyObject_CallMethod(ctypes, "c_int", nullptr);
    PyObject *reference = sample ? PyObject_CallMethod(ctypes, "byref", "O", sample) : nullptr;
    char *address = reference ? ask_address(sample) : nullptr;
    if (address) {
        memory_offset = find_word(sample, address);
        byref_offset = find_word(reference, address);
        byref_type = Py_TYPE(reference);
        Py_INCREF(reinterpret_cast<PyObject *>(byref_type));
    }
    array_size_offset = memory_offset < 0 ? -1 : find_array_size(ctypes);
    Py_XDECREF(sample);
    Py_XDECREF(reference);
    return address != nullptr;
}

PyTypeObject *metatype_named(PyObject *ctypes, const char *name) {
    PyObject *type = PyObject_GetAttrString(ctypes, name);
    if (!type) return nullptr;
    PyTypeObject *meta = Py_TYPE(type);
    Py_INCREF(reinterpret_cast<PyObject *>(meta));
    Py_DECREF(type);
    return meta;
}

}  // namespace

char *ask_address(PyObject *object) {
    PyObject *address = PyObject_CallFunctionObjArgs(addressof, object, nullptr);
    char *memory = address ? static_cast<char *>(PyLong_AsVoidPtr(address)) : nullptr;
    Py_XDECREF(address);
    return memory;
}

char *byref_address(PyObject *reference) {
    if (byref_offset >= 0) return *reinterpret_cast<char **>(reinterpret_cast<char *>(reference) + byref_offset);
    PyErr_SetString(PyExc_TypeError, "this Python's ctypes.byref is unknown here; use ctypes.pointer instead");
    return nullptr;
}

bool load_ctypes() {
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
    buffers_name = PyUnicode_InternFromString("_buffers");
    objects_name = PyUnicode_InternFromString("_objects");
    const bool done = array_type && pointer_type && struct_type && union_type && simple_type && function_type &&
                      addressof && empty_tuple && buffers_name && objects_name && probe_layout(ctypes);
    Py_DECREF(ctypes);
    return done;
}

bool is_ctypes(PyObject *object) {
    PyTypeObject *meta = metatype(object);
    return meta == array_type || meta == pointer_type || meta == struct_type || meta == union_type ||
           meta == simple_type || meta == function_type;
}

PyObject *type_named(const char *name) {
    if (!types_module_get) {
        PyObject *module = PyImport_ImportModule("llamacffi.ctypes_types");
        PyObject *named = module ? PyObject_GetAttrString(module, "named") : nullptr;
        Py_XDECREF(module);
        if (!named) return nullptr;
        types_module_get = named;
    }
    return PyObject_CallFunction(types_module_get, "s", name);
}

PyObject *attribute(PyObject *object, const char *name) {
    PyObject *value = PyObject_GetAttrString(object, name);
    if (!value) PyErr_Clear();
    return value;
}

PyObject *own_attribute(PyObject *object, PyObject *name) {
    PyObject *value = PyObject_GenericGetAttr(object, name);
    if (!value) PyErr_Clear();
    return value;
}

bool lazy_type::ask(const char *name) {
    PyObject *named = type_named(name);
    if (!named) return false;
    create = reinterpret_cast<newfunc>(PyType_GetSlot(reinterpret_cast<PyTypeObject *>(named), Py_tp_new));
    type = named;  // last: another thread takes it as the sign that both are there
    return true;
}

size_t items_behind(PyObject *objects, const void *memory, int depth) {
    size_t found = SIZE_MAX;
    if (metatype(objects) == array_type && memory_of(objects) == memory)
        return static_cast<size_t>(PyObject_Size(objects));
    if (PyBytes_Check(objects) && PyBytes_AsString(objects) == memory)
        return static_cast<size_t>(PyBytes_Size(objects));
    if (depth && PyTuple_Check(objects)) {
        for (Py_ssize_t i = 0; found == SIZE_MAX && i < PyTuple_Size(objects); ++i)
            found = items_behind(PyTuple_GetItem(objects, i), memory, depth - 1);
    }
    if (found != SIZE_MAX || !depth) return found;
    for_values(objects, [&](PyObject *value) {
        found = items_behind(value, memory, depth - 1);
        return found == SIZE_MAX;
    });
    return found;
}

}  // namespace llamacffi
