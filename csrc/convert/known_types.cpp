// See known_types.h.
#include "convert/known_types.h"

namespace llamacffi {

known_array known_arrays[n_known_arrays];
PyTypeObject *known_pointers[std::size(parameter_rows)];

namespace {

// The old one may be the last reference to a type, whose end runs Python code: it goes when the new one is there.
void replace(PyTypeObject *&place, PyTypeObject *type) {
    PyTypeObject *old = place;
    Py_INCREF(reinterpret_cast<PyObject *>(type));
    place = type;
    Py_XDECREF(reinterpret_cast<PyObject *>(old));
}

}  // namespace

void know_array(PyObject *array, const Py_buffer &view, char shape) {
    if (array_size_offset < 0 || memory_of(array) != view.buf || size_of_array(array) != static_cast<size_t>(view.len))
        return;  // a class with a buffer of its own
    known_array &place = place_of_array(Py_TYPE(array));
    place.shape = shape;
    place.item = static_cast<size_t>(view.itemsize);
    replace(place.type, Py_TYPE(array));
}

void know_pointer(const parameter_row &row, PyObject *given) {
    if (memory_offset >= 0) replace(known_pointers[&row - parameter_rows], Py_TYPE(given));
}

}  // namespace llamacffi
