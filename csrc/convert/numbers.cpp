// See numbers.h.
#include "convert/numbers.h"

#include <string>

#include "core/cffi_backend.h"
#include "core/ctypes_objects.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

// What a ctypes number holds; a new reference.
PyObject *ctypes_value(PyObject *given) { return PyObject_GetAttrString(given, "value"); }

// The number in `value`, a new reference to what a foreign object holds, if it is an integer or a bool.
PyObject *index_and_release(PyObject *value) {
    PyObject *number = value && PyLong_Check(value) ? PyNumber_Index(value) : nullptr;
    Py_XDECREF(value);
    return number;
}

// Whether the object has the attribute; what its own `__getattr__` raises, but for AttributeError, stays set.
bool has_attribute(PyObject *object, const char *name) {
    PyObject *value = PyObject_GetAttrString(object, name);
    Py_XDECREF(value);
    if (!value && PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
    return value != nullptr;
}

// Call `act` with a number of the row's C type, to choose it by; false where there is no such type.
template <typename Act>
bool by_number_type(const type_row &type, Act act) {
    switch (type.shape * 16 + static_cast<int>(type.size)) {
        case 'b' * 16 + 1: return act(bool());
        case 'f' * 16 + 4: return act(float());
        case 'f' * 16 + 8: return act(double());
        case 'i' * 16 + 1: return act(int8_t());
        case 'i' * 16 + 2: return act(int16_t());
        case 'i' * 16 + 4: return act(int32_t());
        case 'i' * 16 + 8: return act(int64_t());
        case 'u' * 16 + 1: return act(uint8_t());
        case 'u' * 16 + 2: return act(uint16_t());
        case 'u' * 16 + 4: return act(uint32_t());
        case 'u' * 16 + 8: return act(uint64_t());
        default: return false;
    }
}

}  // namespace

PyObject *as_index(const call &c, const parameter_row &row, PyObject *given) {
    PyObject *number = nullptr;
    if (metatype(given) == simple_type)
        number = index_and_release(ctypes_value(given));
    else if (PyIndex_Check(given))
        number = PyNumber_Index(given);
    else if (is_cdata(given))
        number = is_cffi_integer(given) ? PyNumber_Long(given) : nullptr;
    else if (has_attribute(given, "dtype"))  // NumPy's bool has no __index__
        number = index_and_release(PyObject_CallMethod(given, "item", nullptr));
    // What the object's own methods raise is the user's to see; the others only say that it is no integer.
    if (!number && (!PyErr_Occurred() || is_conversion_error())) refuse_type(c, row, given, "an integer");
    return number;
}

namespace {

// The digits of a number, or some of them.
std::string shown(PyObject *number) {
    PyErr_Clear();
    const std::string digits = take_text(PyObject_Str(number));
    return digits.size() <= 40 ? digits : digits.substr(0, 20) + "… (" + std::to_string(digits.size()) + " digits)";
}

}  // namespace

bool refuse_range(const call &c, const parameter_row &row, PyObject *number) {
    return refuse_value(c, row, "cannot hold " + shown(number));
}

bool wrap_or_refuse(const call &c, const parameter_row &row, PyObject *number, unsigned long long *bits) {
    if (!row.wraps) return refuse_range(c, row, number);
    const std::string given = shown(number);
    *bits = PyLong_AsUnsignedLongLongMask(number);
    return warn(c, row, LlamaOverflowWarning, "cannot hold " + given + ", of which C takes the low bits");
}

bool convert_floating(const call &c, const parameter_row &row, PyObject *given, double *target) {
    PyObject *value = metatype(given) == simple_type ? ctypes_value(given) : nullptr;
    PyObject *number = value ? value : given;
    const bool numeric =
        PyFloat_Check(number) || PyIndex_Check(number) || is_cdata(number) || has_attribute(number, "__float__");
    *target = numeric ? PyFloat_AsDouble(number) : 0;
    Py_XDECREF(value);
    if (numeric && !PyErr_Occurred()) return true;
    if (numeric && PyErr_ExceptionMatches(PyExc_OverflowError) && !is_raised_in_python())
        return refuse_range(c, row, given);
    if (PyErr_Occurred() && !is_conversion_error()) return false;
    return refuse_type(c, row, given, "a number");
}

// Anything, by its truth: what its own __bool__ raises comes out.
bool convert_boolean(PyObject *given, bool *target) {
    PyObject *value = metatype(given) == simple_type ? ctypes_value(given) : nullptr;
    PyObject *truth = value ? value : given;
    const int answer = PyObject_IsTrue(truth);
    Py_XDECREF(value);
    *target = answer > 0;
    return answer >= 0;
}

bool number_by_row(const call &c, const parameter_row &row, PyObject *given) {
    const bool good = by_number_type(row.type, [&](auto sample) {
        using number = decltype(sample);
        return convert_number<number>(c, row, given) != static_cast<number>(-1) || !PyErr_Occurred();
    });
    return good || PyErr_Occurred() ? good : refuse_type(c, row, given, "of a C type that has a rule");
}

bool fill_numbers(const call &c, const parameter_row &row, PyObject *tuple, void *block) {
    return by_number_type(row.type, [&](auto sample) {
        using number = decltype(sample);
        number *items = static_cast<number *>(block);
        for (Py_ssize_t i = 0; i < PyTuple_Size(tuple); ++i) {
            items[i] = convert_number<number>(c, row, PyTuple_GetItem(tuple, i));
            if (items[i] == static_cast<number>(-1) && PyErr_Occurred()) return false;
        }
        return true;
    });
}

}  // namespace llamacffi
