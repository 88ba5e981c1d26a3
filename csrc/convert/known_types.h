// ctypes types that have been seen before: what the items of an array are, and that a pointer is what a parameter
// takes.
//
// That is found out once, by the buffer protocol and by the attributes of the type (convert/memory.cpp); afterwards the
// memory's address is read out of the object. Read and written with the border's lock held.
#pragma once

#include "core/call.h"
#include "core/ctypes_objects.h"

namespace llamacffi {

struct known_array {
    PyTypeObject *type;  // kept alive, or its address could be another one's
    char shape;          // of an item
    size_t item;         // bytes
};

constexpr size_t n_known_arrays = 64;
extern known_array known_arrays[n_known_arrays];

// A type has one place, which another may take from it.
inline known_array &place_of_array(PyTypeObject *type) {
    return known_arrays[(reinterpret_cast<uintptr_t>(type) * 0x9E3779B97F4A7C15ull >> 32) % n_known_arrays];
}

// Remember the type of an array, whose memory was found to be where ctypes has it.
void know_array(PyObject *array, const Py_buffer &view, char shape);

bool item_fits(const type_row &type, char shape, size_t size);

// False where it is no array that is known, or none of such items.
inline bool find_array(const type_row &type, PyObject *given, void **memory, size_t *size) {
    if (array_size_offset < 0) return false;
    const known_array &known = place_of_array(Py_TYPE(given));
    if (known.type != Py_TYPE(given)) return false;
    const bool same = known.shape == type.shape && known.item == type.size && type.kind == type_kind::ITEMS;
    if (!same && !item_fits(type, known.shape, known.item)) return false;
    *memory = memory_of(given);
    *size = size_of_array(given);
    return true;
}

// The type of pointer that was last good for a parameter, kept alive.
extern PyTypeObject *known_pointers[std::size(parameter_rows)];

inline bool is_known_pointer(const parameter_row &row, PyObject *given) {
    return known_pointers[&row - parameter_rows] == Py_TYPE(given);
}

void know_pointer(const parameter_row &row, PyObject *given);

inline void *pointer_in(PyObject *given) { return *reinterpret_cast<void **>(memory_of(given)); }

}  // namespace llamacffi
