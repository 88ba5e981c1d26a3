// See by_name.h.
#include "core/by_name.h"

#include <atomic>

#include "core/call.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

// The parameters' names, as Python interns them: those in a program's code are the same objects. Made when they are
// first wanted, since most never are.
std::atomic<PyObject *> interned[std::size(parameter_rows)];

PyObject *name_of(unsigned row) {
    PyObject *name = interned[row].load(std::memory_order_acquire);
    if (name) return name;
    name = PyUnicode_InternFromString(parameter_rows[row].name);  // for good; two threads get the same
    interned[row].store(name, std::memory_order_release);
    return name;
}

bool is_called(const parameter_row &row, PyObject *name) {
    return PyUnicode_CompareWithASCIIString(name, row.name) == 0 ||
           (row.also && PyUnicode_CompareWithASCIIString(name, row.also) == 0);
}

// `guess`: where it stands when the names come in the order of the parameters.
Py_ssize_t place_of(const function_row &function, PyObject *name, Py_ssize_t guess) {
    if (guess < function.count && name_of(function.first + static_cast<unsigned>(guess)) == name) return guess;
    for (unsigned i = 0; i < function.count; ++i) {
        if (is_called(parameter_rows[function.first + i], name)) return i;
    }
    return nowhere;
}

// The words are put together in Python: `llamacffi.wrong_calls`.
PyObject *refuse(const function_row &function, Py_ssize_t count, PyObject *names) {
    PyObject *parameters = PyTuple_New(function.count), *module = PyImport_ImportModule("llamacffi.wrong_calls");
    PyObject *given = names ? PySequence_List(names) : PyList_New(0), *words = nullptr;
    for (unsigned i = 0; parameters && i < function.count; ++i)
        PyTuple_SetItem(parameters, i, PyUnicode_FromString(parameter_rows[function.first + i].name));
    for (Py_ssize_t i = 0; given && parameters && i < PyList_Size(given); ++i) {
        const Py_ssize_t place = place_of(function, PyList_GetItem(given, i), i + count);
        if (place != nowhere)
            PyList_SetItem(given, i, PyUnicode_FromString(parameter_rows[function.first + place].name));
    }
    if (module && parameters && given)
        words = PyObject_CallMethod(module, "explain", "sOnO", function.name, parameters, count, given);
    if (words) PyErr_SetObject(PyExc_TypeError, words);
    Py_XDECREF(words);
    Py_XDECREF(given);
    Py_XDECREF(module);
    Py_XDECREF(parameters);
    return nullptr;
}

}  // namespace

#ifndef Py_GIL_DISABLED
order orders[std::size(function_rows)];
#endif

namespace {

void note_order([[maybe_unused]] const function_row &function, [[maybe_unused]] Py_ssize_t count,
                [[maybe_unused]] PyObject *names) {
#ifndef Py_GIL_DISABLED  // where two threads would write it
    order &last = orders[&function - function_rows];
    PyObject *old = last.names;
    Py_INCREF(names);
    last = {names, count};
    Py_XDECREF(old);
#endif
}

}  // namespace

PyObject *call_by_name(const function_row &function, PyObject *const *arguments, Py_ssize_t count, PyObject *names,
                       PyObject *(*enter)(PyObject *const *)) {
    const Py_ssize_t named = names ? PyTuple_Size(names) : 0, wanted = function.count;
    if (count > wanted && !named && function.ignores_more) {
        const char *text = "%s() takes %u arguments; the others are ignored";
        return PyErr_WarnFormat(LlamaWarning, 1, text, function.name, function.count) < 0 ? nullptr : enter(arguments);
    }
    if (count + named != wanted) return refuse(function, count, names);
    PyObject *placed[max_parameters] = {};
    bool in_order = true;
    for (Py_ssize_t i = 0; i < count; ++i) placed[i] = arguments[i];
    for (Py_ssize_t i = 0; i < named; ++i) {
        const Py_ssize_t place = place_of(function, PyTuple_GetItem(names, i), count + i);
        if (place == nowhere || placed[place]) return refuse(function, count, names);
        placed[place] = arguments[count + i];
        in_order &= place == count + i;
    }
    if (in_order && named) note_order(function, count, names);
    return enter(placed);  // each place is taken, and once
}

}  // namespace llamacffi
