// See function_objects.h.
#include "core/function_objects.h"

#include <structmember.h>

#include <cstring>
#include <vector>

#include "core/border_lock.h"
#include "core/call.h"
#include "core/ctypes_objects.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

constexpr unsigned long has_vectorcall = 1ul << 11;  // Py_TPFLAGS_HAVE_VECTORCALL

// What stands behind the head of a Python object, whose size is the interpreter's affair.
struct function_data {
    vectorcall call;
    const function_row *row;
    PyObject *attributes, *references;
};

PyTypeObject *type;
size_t head;

function_data &data_of(PyObject *self) {
    return *reinterpret_cast<function_data *>(reinterpret_cast<char *>(self) + head);
}

// A call with a tuple and a dict; CPython's own function for it is in the stable ABI since 3.12.
PyObject *call_with_tuple(PyObject *self, PyObject *tuple, PyObject *named) {
    const function_data &own = data_of(self);
    PyObject *names = named ? PySequence_Tuple(named) : PyTuple_New(0);
    if (!names) return nullptr;
    std::vector<PyObject *> arguments;
    for (Py_ssize_t i = 0; i < PyTuple_Size(tuple); ++i) arguments.push_back(PyTuple_GetItem(tuple, i));
    for (Py_ssize_t i = 0; i < PyTuple_Size(names); ++i)
        arguments.push_back(PyDict_GetItemWithError(named, PyTuple_GetItem(names, i)));
    PyObject *result = own.call(self, arguments.data(), static_cast<size_t>(PyTuple_Size(tuple)), names);
    Py_DECREF(names);
    return result;
}

// What makes an attribute, asked for once, or nullptr with an exception.
PyObject *attribute_maker() {
    static PyObject *make = nullptr;
    const border_lock lock;
    if (!make) {
        PyObject *module = PyImport_ImportModule("llamacffi.ctypes_types");
        PyObject *found = module ? PyObject_GetAttrString(module, "function_attribute") : nullptr;
        Py_XDECREF(module);
        make = found;
    }
    return make;
}

PyObject *get_attribute(PyObject *self, PyObject *name) {
    PyObject *value = PyObject_GenericGetAttr(self, name);
    if (value || !PyErr_ExceptionMatches(PyExc_AttributeError)) return value;
    PyErr_Clear();
    PyObject *make = attribute_maker();
    return make ? PyObject_CallFunctionObjArgs(make, self, name, nullptr) : nullptr;
}

PyObject *get_name(PyObject *self, void *) { return PyUnicode_FromString(data_of(self).row->name); }

// Behind the line with the parameters.
PyObject *get_doc(PyObject *self, void *) {
    const char *doc = data_of(self).row->doc, *end = std::strstr(doc, "\n--\n\n");
    return PyUnicode_FromString(end ? end + 5 : doc);
}

PyObject *get_signature(PyObject *self, void *) {
    const function_row &row = *data_of(self).row;
    const char *parameters = row.doc + std::strlen(row.name), *end = std::strstr(parameters, "\n--\n\n");
    return PyUnicode_FromStringAndSize(parameters, end ? end - parameters : 0);
}

PyObject *represent(PyObject *self) {
    return PyUnicode_FromFormat("<function %s of llama.cpp>", data_of(self).row->name);
}

// By its name, as every function of a module is pickled and copied.
PyObject *reduce(PyObject *self, PyObject *) { return get_name(self, nullptr); }

void deallocate(PyObject *self) {
    PyTypeObject *own = Py_TYPE(self);
    if (data_of(self).references) PyObject_ClearWeakRefs(self);
    Py_XDECREF(data_of(self).attributes);
    PyObject_Free(self);
    Py_DECREF(own);
}

PyMemberDef member(const char *name, size_t offset) {
    return {name, T_PYSSIZET, static_cast<Py_ssize_t>(head + offset), READONLY, nullptr};
}

template <typename Function>
void *slot(Function *function) {
    return reinterpret_cast<void *>(function);
}

}  // namespace

bool load_function_type() {
    head = static_cast<size_t>(size_of_objects(&PyBaseObject_Type));
    static PyMemberDef members[] = {
        member("__vectorcalloffset__", offsetof(function_data, call)),
        member("__dictoffset__", offsetof(function_data, attributes)),
        member("__weaklistoffset__", offsetof(function_data, references)),
        {nullptr, 0, 0, 0, nullptr},
    };
    static PyGetSetDef computed[] = {
        {"__name__", get_name, nullptr, nullptr, nullptr},
        {"__qualname__", get_name, nullptr, nullptr, nullptr},
        {"__doc__", get_doc, nullptr, nullptr, nullptr},
        {"__text_signature__", get_signature, nullptr, nullptr, nullptr},
        {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
        {nullptr, nullptr, nullptr, nullptr, nullptr},
    };
    static PyMethodDef methods[] = {
        {"__reduce__", reduce, METH_NOARGS, nullptr},
        {nullptr, nullptr, 0, nullptr},
    };
    PyType_Slot slots[] = {
        {Py_tp_call, slot(call_with_tuple)},
        {Py_tp_getattro, slot(get_attribute)},
        {Py_tp_setattro, slot(PyObject_GenericSetAttr)},
        {Py_tp_repr, slot(represent)},
        {Py_tp_dealloc, slot(deallocate)},
        {Py_tp_members, members},
        {Py_tp_getset, computed},
        {Py_tp_methods, methods},
        {0, nullptr},
    };
    PyType_Spec spec = {"llamacffi.llama_cpp.Function", static_cast<int>(head + sizeof(function_data)), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | has_vectorcall, slots};
    type = reinterpret_cast<PyTypeObject *>(PyType_FromSpec(&spec));
    return type != nullptr;
}

PyObject *make_function(const function_row &row, vectorcall call) {
    PyObject *self = PyType_GenericAlloc(type, 0);
    if (!self) return nullptr;
    data_of(self).call = call;
    data_of(self).row = &row;
    return self;
}

}  // namespace llamacffi
