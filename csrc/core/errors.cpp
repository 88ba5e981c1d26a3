// See errors.h.
#include "core/errors.h"

namespace llamacffi {

PyObject *LlamaError, *LlamaAssertionError, *LlamaValueError, *LlamaWarning, *LlamaOverflowWarning;

namespace {

PyObject *new_exception(PyObject *module, const char *name, const char *doc, PyObject *bases) {
    const std::string full = std::string("llamacffi.") + name;
    PyObject *type = PyErr_NewExceptionWithDoc(full.c_str(), doc, bases, nullptr);
    if (type && PyModule_AddObjectRef(module, name, type) < 0) Py_CLEAR(type);
    return type;
}

}  // namespace

bool add_exceptions(PyObject *module) {
    LlamaError = new_exception(module, "LlamaError", "A call into llama.cpp failed.", PyExc_RuntimeError);
    if (!LlamaError) return false;
    PyObject *bases = PyTuple_Pack(2, LlamaError, PyExc_RuntimeError);
    LlamaAssertionError = new_exception(module, "LlamaAssertionError",
                                        "An assertion inside llama.cpp failed; its context must only be freed.", bases);
    Py_XDECREF(bases);
    bases = PyTuple_Pack(2, LlamaError, PyExc_ValueError);
    LlamaValueError =
        new_exception(module, "LlamaValueError", "An argument has the right type and an impossible value.", bases);
    Py_XDECREF(bases);
    LlamaWarning = new_exception(module, "LlamaWarning", "What ctypes lets pass was let pass, and is likely a mistake.",
                                 PyExc_UserWarning);
    if (!LlamaWarning) return false;
    LlamaOverflowWarning = new_exception(module, "LlamaOverflowWarning",
                                         "A number was too great or too small for its C type.", LlamaWarning);
    return LlamaAssertionError && LlamaValueError && LlamaOverflowWarning;
}

std::string take_text(PyObject *text) {
    const char *characters = text ? PyUnicode_AsUTF8AndSize(text, nullptr) : nullptr;
    std::string result = characters ? characters : "object";
    Py_XDECREF(text);
    PyErr_Clear();
    return result;
}

std::string type_name(PyObject *object) {
    if (object == Py_None) return "None";
    const std::string name = take_text(PyType_GetName(Py_TYPE(object)));
    return name.find("CData") == std::string::npos ? name : take_text(PyObject_Repr(object));
}

std::string described(const call &c, const parameter_row &row) {
    return std::string(row.name) + " (" + row.c_type + ")";
}

std::string too_short(const parameter_row &row, size_t wanted, size_t has) {
    const std::string items = std::to_string(wanted) + (wanted == 1 ? " item" : " items");
    if (has == null_size) return " is NULL, where C reads or writes " + items;
    return " holds " + std::to_string(has / row.type.size) + ", where C may read or write " + items;
}

std::string out_of_limits(long long least, long long most, long long number) {
    const std::string least_and = " must be at least " + std::to_string(least);
    const std::string both = " must be from " + std::to_string(least) + " to " + std::to_string(most);
    if (most < least) return " has no value that is good here, so not " + std::to_string(number);
    return (most == INT64_MAX ? least_and : both) + ", not " + std::to_string(number);
}

std::string subject(const call &c, const parameter_row &row) {
    return std::string(c.function.name) + "(): " + described(c, row);
}

// Only a frame of Python adds a traceback.
bool is_raised_in_python() {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    const bool raised = traceback != nullptr;
    PyErr_Restore(type, value, traceback);
    return raised;
}

bool is_conversion_error() {
    if (is_raised_in_python()) return false;
    if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_ValueError)) return false;
    PyErr_Clear();
    return true;
}

bool refuse_type(const call &c, const parameter_row &row, PyObject *given, const std::string &detail) {
    PyErr_Format(PyExc_TypeError, "%s must be %s, not %s", subject(c, row).c_str(), detail.c_str(),
                 type_name(given).c_str());
    return false;
}

bool refuse_value(const call &c, const parameter_row &row, const std::string &detail) {
    PyErr_Format(LlamaValueError, "%s %s", subject(c, row).c_str(), detail.c_str());
    return false;
}

bool warn(const call &c, const parameter_row &row, PyObject *category, const std::string &detail) {
    return PyErr_WarnFormat(category, 1, "%s %s", subject(c, row).c_str(), detail.c_str()) == 0;
}

void raise_again(PyObject *exception) {
    PyObject *type = reinterpret_cast<PyObject *>(Py_TYPE(exception));
    Py_INCREF(type);
    Py_INCREF(exception);
    PyErr_Restore(type, exception, PyException_GetTraceback(exception));
}

PyObject *take_exception() {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback) PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

bool refuse_reason(const call &c, const parameter_row &row, PyObject *exception) {
    PyObject *reason = take_exception();
    PyObject *text = reason ? PyObject_Str(reason) : nullptr;
    const char *detail = text ? PyUnicode_AsUTF8AndSize(text, nullptr) : nullptr;
    PyErr_Clear();
    PyErr_Format(exception, "%s: %s", subject(c, row).c_str(), detail ? detail : "not convertible");
    Py_XDECREF(text);
    Py_XDECREF(reason);
    return false;
}

}  // namespace llamacffi
