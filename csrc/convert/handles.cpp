// See handles.h.
#include "convert/handles.h"

#include <string>

#include "convert/items.h"
#include "convert/memory.h"
#include "core/ctypes_objects.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

bool null_handle(const call &c, const parameter_row &row, char **target) {
    *target = nullptr;
    if (row.nullable) return true;
    return refuse_value(c, row,
                        std::string("must be a live ") + row.type.python + ", not NULL; did its creation fail?");
}

// What a c_void_p holds, or a pointer to void *, as which handles are documented (`llama_model_p`).
bool ctypes_handle(PyObject *given, void **address) {
    PyObject *type = reinterpret_cast<PyObject *>(Py_TYPE(given));
    PyObject *item = metatype(given) == pointer_type ? PyObject_GetAttrString(type, "_type_") : nullptr;
    PyObject *simple = item ? item : type;
    const bool good = Py_TYPE(simple) == simple_type && type_code(simple) == 'P';
    Py_XDECREF(item);
    if (good) *address = *reinterpret_cast<void **>(memory_of(given));
    return good;
}

}  // namespace

bool convert_handle(call &c, const parameter_row &row, ctype_slot type, PyObject *given, char **target) {
    void *address = nullptr;
    if (PyLong_Check(given)) {
        address = PyBool_Check(given) ? nullptr : PyLong_AsVoidPtr(given);
        if (PyBool_Check(given)) return refuse_argument(c, row, given);
        if (PyErr_Occurred()) return refuse_reason(c, row, LlamaValueError);
    } else if (given == Py_None) {
        address = nullptr;
    } else if (ctypes_handle(given, &address)) {
    } else if (is_cdata(given)) {
        if (cffi_pointer(type, c.function.name, given, target) != 0) return refuse_reason(c, row, PyExc_TypeError);
        address = *target;
    } else if (row.type.kind == type_kind::OBJECT && !PyBytes_Check(given) &&
               (is_ctypes(given) || Py_TYPE(given) == byref_type)) {
        if (!convert_memory(c, row, type, given, target)) return false;
        address = *target;
    } else {
        return refuse_argument(c, row, given);
    }
    *target = static_cast<char *>(address);
    return address ? true : null_handle(c, row, target);
}

// ---------------------------------------------------------------- structs of the caller's own

namespace {

bool keeps_struct(PyObject *objects, const void *address, int depth);

// Whether a ctypes struct has memory of its own, or stands in an array or a struct. `.contents` of a pointer has what
// that pointer keeps: of C's pointers nothing.
bool owns_memory(PyObject *given) {
    if (metatype(given) != struct_type) return false;
    PyObject *owned = attribute(given, "_b_needsfree_"), *base = attribute(given, "_b_base_");
    const bool pointed = base && metatype(base) == pointer_type;
    PyObject *objects = pointed ? attribute(base, "_objects") : nullptr;
    const bool owns = (owned && PyObject_IsTrue(owned) == 1) ||
                      (pointed ? objects && keeps_struct(objects, memory_of(given), 3) : base && base != Py_None);
    for (PyObject *one : {owned, base, objects}) Py_XDECREF(one);
    return owns;
}

// Whether a struct with memory of its own stands among what a ctypes pointer keeps alive.
bool keeps_struct(PyObject *objects, const void *address, int depth) {
    if (owns_memory(objects)) return memory_of(objects) == address;
    bool found = false;
    if (!depth) return false;
    for_values(objects, [&](PyObject *value) { return !(found = keeps_struct(value, address, depth - 1)); });
    return found;
}

// A struct of the caller's own, given as itself, by reference or by a pointer that knows it, is trusted: ctypes
// may have made it where something was freed before.
bool built_by_caller(PyObject *given) {
    if (metatype(given) == struct_type) return owns_memory(given);
    const bool reference = Py_TYPE(given) == byref_type;
    if (!reference && metatype(given) != pointer_type) return false;
    PyObject *behind = PyObject_GetAttrString(given, reference ? "_obj" : "_objects");
    const void *address = reference || !behind ? nullptr : *reinterpret_cast<void **>(memory_of(given));
    const bool built = behind && (reference ? owns_memory(behind) : keeps_struct(behind, address, 3));
    Py_XDECREF(behind);
    PyErr_Clear();
    return built;
}

}  // namespace

bool trust_struct(PyObject *given) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!built_by_caller(given)) {
        PyErr_Restore(type, value, traceback);
        return false;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return true;
}

bool is_sampler(const void *address, PyObject *given) {
#ifdef LLAMACFFI_UNCHECKED
    return true;
#endif
    return handles.find(address) || Py_TYPE(given) == byref_type || is_cdata(given) ||
           (is_ctypes(given) && metatype(given) != simple_type);
}

bool refuse_number_for_sampler(const call &c, const parameter_row &row) {
    return refuse_kind(c, row, "an address that no call returned");
}

}  // namespace llamacffi
