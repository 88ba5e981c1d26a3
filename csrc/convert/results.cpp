// See results.h.
#include "convert/results.h"

#include <string>

namespace llamacffi {

bool load_pointer(lazy_type &type, const type_row &row) {
    return type.load(row.kind == type_kind::FUNCTION ? row.python
                                                     : (std::string("POINTER(") + row.python + ")").c_str());
}

PyObject *pinned(PyObject *given) {
    if (!is_ctypes(given) && !PyBytes_Check(given) && PyObject_CheckBuffer(given))
        return PyMemoryView_FromObject(given);
    Py_INCREF(given);
    return given;
}

bool keep_buffer(PyObject *result, PyObject *given) {
    PyObject *held = pinned(given);
    const bool done = held && PyObject_GenericSetAttr(result, buffers_name, held) == 0;
    Py_XDECREF(held);
    return done;
}

}  // namespace llamacffi
