// See values.h.
#include "convert/values.h"

#include <cstring>
#include <string>

#include "checks/values.h"
#include "convert/handles.h"
#include "convert/items.h"
#include "convert/memory.h"
#include "convert/numbers.h"
#include "core/ctypes_objects.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

// -1 where none are declared, as in a function of a library.
Py_ssize_t argument_count(PyObject *type) {
    PyObject *types = PyObject_GetAttrString(type, "_argtypes_");
    if (!types && PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
    const Py_ssize_t count = types ? PySequence_Size(types) : -1;
    Py_XDECREF(types);
    return count;
}

// A ctypes callback of another type is taken if it has as many parameters: other bindings spell the same
// C types differently.
bool same_signature(const parameter_row &row, PyObject *given) {
    PyObject *type = type_named(row.type.python);
    if (!type) return false;
    PyObject *own = reinterpret_cast<PyObject *>(Py_TYPE(given));
    const bool same = own == type || argument_count(own) == argument_count(type);
    Py_DECREF(type);
    return same && !PyErr_Occurred();
}

}  // namespace

char *convert_callback(call &c, const parameter_row &row, ctype_slot type, PyObject *given) {
    if (given == Py_None) return nullptr;
    char *address = nullptr;
    if (metatype(given) == function_type) {
        if (same_signature(row, given))
            address = *reinterpret_cast<char **>(memory_of(given));
        else if (!PyErr_Occurred())
            refuse_type(c, row, given, std::string("made with llama_cpp.") + row.type.python);
    } else if (is_cdata(given)) {
        address = cffi_function(type, c.function.name, given);
        if (PyErr_Occurred()) refuse_reason(c, row, PyExc_TypeError);
    } else {
        refuse_type(c, row, given,
                    std::string("made with llama_cpp.") + row.type.python + "(…), a cffi callback or None");
    }
    return address;
}

namespace {

// An enum, whose signedness the compiler chose.
bool convert_enumerator(call &c, const parameter_row &row, PyObject *given, char *target) {
    unsigned whole = 0;
    int number = 0;
    const bool is_unsigned = row.type.shape == 'u';
    if (!(is_unsigned ? convert_integer(c, row, given, &whole) : convert_integer(c, row, given, &number))) return false;
    const long long value = is_unsigned ? static_cast<long long>(whole) : number;
#ifndef LLAMACFFI_UNCHECKED
    if (!check_enum(c, row, value)) return false;
#endif
    c.numbers[position_of(c, row)] = value;
    if (is_unsigned)
        std::memcpy(target, &whole, sizeof whole);
    else
        std::memcpy(target, &number, sizeof number);
    return true;
}

}  // namespace

namespace {

// What the fields of a struct point to stays until C is done, though a callback or another thread gives them something
// else meanwhile.
bool hold_pointed(call &c, const parameter_row &row, PyObject *given) {
    PyObject *objects = own_attribute(given, objects_name);
    PyObject *values = objects && PyDict_Check(objects) ? PyDict_Values(objects) : nullptr;
    PyObject *all = values ? PyList_AsTuple(values) : nullptr;
    Py_XDECREF(objects);
    Py_XDECREF(values);
    if (all) c.more().held.push_back({&row, all});
    return all || !PyErr_Occurred();
}

// A copy, and what belongs to it: fields are set under the struct's own lock (`set_field` in core/module.cpp).
bool copy_struct(call &c, const parameter_row &row, PyObject *given, char *target) {
    const object_lock lock(given);
    std::memcpy(target, memory_of(given), row.type.size);
    return hold_pointed(c, row, given);
}

bool remember_value(call &c, const parameter_row &row, char *target) {
    c.memory[position_of(c, row)] = target;
    c.sizes[position_of(c, row)] = row.type.size;
    return true;
}

}  // namespace

bool convert_value(call &c, const parameter_row &row, ctype_slot type, PyObject *given, char *target) {
    if (row.type.kind == type_kind::ENUM) return convert_enumerator(c, row, given, target);
    c.memory[position_of(c, row)] = target;
    if (metatype(given) == struct_type && points_to(row, reinterpret_cast<PyObject *>(Py_TYPE(given)))) {
        return copy_struct(c, row, given, target) && remember_value(c, row, target);
    }
    if (!is_cdata(given)) {
        PyErr_Clear();
        return refuse_type(c, row, given, std::string("a ") + row.type.python + " struct");
    }
    if (cffi_value(target, type, c.function.name, given) < 0) return refuse_reason(c, row, PyExc_TypeError);
    return remember_value(c, row, target);
}

bool convert_by_row(call &c, const parameter_row &row, ctype_slot type, PyObject *given, char **target) {
    alignas(16) char space[512];
    switch (row.type.kind) {
        case type_kind::NUMBER: return number_by_row(c, row, given);
        case type_kind::ENUM:
        case type_kind::VALUE: return row.type.size <= sizeof space && convert_value(c, row, type, given, space);
        case type_kind::FUNCTION: return (*target = convert_callback(c, row, type, given)) || !PyErr_Occurred();
        case type_kind::HANDLE:
        case type_kind::OBJECT: return convert_handle(c, row, type, given, target);
        default: return convert_memory(c, row, type, given, target);
    }
}

}  // namespace llamacffi
