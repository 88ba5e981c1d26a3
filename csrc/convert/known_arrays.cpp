// See known_arrays.h.
#include "convert/known_arrays.h"

namespace llamacffi {

known_array known_arrays[n_known_arrays];

void know_array(PyObject *array, const Py_buffer &view, char shape) {
    if (array_size_offset < 0 || memory_of(array) != view.buf || size_of_array(array) != static_cast<size_t>(view.len))
        return;  // a class with a buffer of its own
    known_array &place = place_of_array(Py_TYPE(array));
    PyTypeObject *old = place.type;
    Py_INCREF(reinterpret_cast<PyObject *>(Py_TYPE(array)));
    place = {Py_TYPE(array), shape, static_cast<size_t>(view.itemsize)};
    Py_XDECREF(reinterpret_cast<PyObject *>(old));
}

}  // namespace llamacffi
