// See results.h.
#include "convert/results.h"

#include <string>

namespace llamacffi {

bool load_pointer(lazy_type &type, const type_row &row) {
    return type.load(row.kind == type_kind::FUNCTION ? row.python
                                                     : (std::string("POINTER(") + row.python + ")").c_str());
}

namespace {

bool keep_buffer(PyObject *result, PyObject *name, PyObject *given) {
    PyObject *held = pinned(given);
    const bool done = held && PyObject_GenericSetAttr(result, name, held) == 0;
    Py_XDECREF(held);
    return done;
}

}  // namespace

PyObject *pinned(PyObject *given) {
    if (!is_ctypes(given) && !PyBytes_Check(given) && PyObject_CheckBuffer(given))
        return PyMemoryView_FromObject(given);
    Py_INCREF(given);
    return given;
}

bool keep_buffers(const call &c, PyObject *result) {
    for (unsigned i = 0; i < c.function.count; ++i) {
        const type_kind kind = c.parameters()[i].type.kind;
        if (kind != type_kind::ITEMS && kind != type_kind::STRUCT && kind != type_kind::BYTES) continue;
        if (!keep_buffer(result, buffers_name, c.arguments[i])) return false;
    }
    return true;
}

}  // namespace llamacffi
