// See memory.h.
#include "convert/memory.h"

#include <cstring>
#include <string>

#include "convert/items.h"
#include "convert/known_types.h"
#include "convert/numbers.h"
#include "core/ctypes_objects.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

const char *expected(const type_row &type) {
    switch (type.kind) {
        case type_kind::TEXT: return "bytes, str or a char buffer";
        case type_kind::CHARS: return "a writable char buffer";
        case type_kind::BYTES: return "a buffer, a pointer or an address";
        case type_kind::ITEMS: return "a ctypes array or pointer, cdata, or a buffer of that item type";
        case type_kind::STRUCT: return "a ctypes struct or pointer of that type, or cdata";
        case type_kind::POINTERS: return "a ctypes array of pointers, a byref, or cdata";
        case type_kind::HANDLE: return "a handle that a function returned";
        case type_kind::OBJECT: return "a pointer that a function returned, or a struct of that type";
        case type_kind::FUNCTION: return "a ctypes callback, a cffi callback or None";
        default: return "a value of that type";
    }
}

}  // namespace

bool refuse_argument(const call &c, const parameter_row &row, PyObject *given) {
    return refuse_type(c, row, given, expected(row.type));
}

namespace {

bool refuse_items(const call &c, const parameter_row &row, PyObject *given, const Py_buffer &view) {
    const char *format = view.format ? view.format : "B";
    PyErr_Format(PyExc_TypeError, "%s needs items of %zu bytes that are %s, not %s with items '%s' of %zd bytes",
                 subject(c, row).c_str(), row.type.size, row.type.python, type_name(given).c_str(), format,
                 view.itemsize);
    return false;
}

bool refuse_buffer(const call &c, const parameter_row &row, PyObject *given) {
    if (PyErr_Occurred() && is_raised_in_python()) return false;
    PyErr_Clear();
    return refuse_value(c, row,
                        std::string("needs a C-contiguous") + (row.type.is_const ? "" : ", writable") +
                            " buffer; this " + type_name(given) + " is not");
}

// Text without a length must end within its buffer; CPython puts a NUL behind a bytearray.
bool ends_with_nul(const call &c, const parameter_row &row, PyObject *given, const Py_buffer &view) {
    return row.bounded || PyByteArray_CheckExact(given) || std::memchr(view.buf, 0, static_cast<size_t>(view.len));
}

bool refuse_endless(const call &c, const parameter_row &row, PyObject *given) {
    return refuse_value(c, row, "must end with a NUL character, which this " + type_name(given) + " does not hold");
}

// Anything with the buffer protocol: the memory itself is handed to C, and held until the call ends.
bool convert_buffer(call &c, const parameter_row &row, PyObject *given, char **target) {
    Py_buffer *view = &c.views[c.n_views];
    const int flags = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (row.type.is_const ? 0 : PyBUF_WRITABLE);
    if (PyObject_GetBuffer(given, view, flags) < 0) return refuse_buffer(c, row, given);
    ++c.n_views;
    const char shape = shape_of_format(view->format);
    if (!item_fits(row.type, shape, static_cast<size_t>(view->itemsize))) return refuse_items(c, row, given, *view);
    if (metatype(given) == array_type) know_array(given, *view, shape);
    if (row.type.kind == type_kind::TEXT && !ends_with_nul(c, row, given, *view)) return refuse_endless(c, row, given);
    return note_memory(c, row, target, view->buf, static_cast<size_t>(view->len));
}

// A ctypes array: of structs and of pointers the type must be right, of numbers the format says enough.
bool convert_array(call &c, const parameter_row &row, PyObject *given, char **target) {
    const type_kind wanted = row.type.kind;
    if (wanted == type_kind::STRUCT || wanted == type_kind::OBJECT || wanted == type_kind::POINTERS) {
        PyObject *item = PyObject_GetAttrString(reinterpret_cast<PyObject *>(Py_TYPE(given)), "_type_");
        const bool good = item && points_to(row, item);
        Py_XDECREF(item);
        if (!good) return PyErr_Clear(), refuse_argument(c, row, given);
    }
    return convert_buffer(c, row, given, target);
}

// How many bytes a ctypes object has, which is more than its type has where it was resized.
size_t size_of(PyObject *given) {
    Py_buffer view;
    if (PyObject_GetBuffer(given, &view, PyBUF_SIMPLE) < 0) return PyErr_Clear(), 0;
    const size_t size = static_cast<size_t>(view.len);
    PyBuffer_Release(&view);
    return size;
}

// Where a ctypes struct, number or pointer points, or nullptr with an exception.
bool convert_ctypes(call &c, const parameter_row &row, PyObject *given, char **target) {
    PyTypeObject *meta = metatype(given);
    PyObject *type = reinterpret_cast<PyObject *>(Py_TYPE(given));
    const type_kind wanted = row.type.kind;
    if (is_known_pointer(row, given)) return note_memory(c, row, target, pointer_in(given), unknown_size);
    if (meta == pointer_type) {
        PyObject *item = PyObject_GetAttrString(type, "_type_");
        const bool good = item && points_to(row, item);
        Py_XDECREF(item);
        if (!good) return PyErr_Clear(), refuse_argument(c, row, given);
        know_pointer(row, given);
        return note_memory(c, row, target, pointer_in(given), unknown_size);
    }
    if (meta == simple_type &&
        (wanted == type_kind::BYTES || wanted == type_kind::TEXT || wanted == type_kind::CHARS)) {
        if (shape_of_letter(type_code(type)) != 'p') return refuse_argument(c, row, given);
        return note_memory(c, row, target, *reinterpret_cast<void **>(memory_of(given)), unknown_size);
    }
    if (meta == function_type && wanted == type_kind::BYTES)
        return note_memory(c, row, target, *reinterpret_cast<void **>(memory_of(given)), unknown_size);
    if (!points_to(row, type)) return PyErr_Clear(), refuse_argument(c, row, given);
    return note_memory(c, row, target, memory_of(given), size_of(given));
}

bool refuse_offset(const call &c, const parameter_row &row, ptrdiff_t offset, size_t size) {
    return refuse_value(
        c, row, "is byref(…, " + std::to_string(offset) + ") of an object of " + std::to_string(size) + " bytes");
}

// What `byref(object, offset)` leaves of the object.
bool convert_reference(call &c, const parameter_row &row, PyObject *given, PyObject *referred, char **target) {
    char *start = nullptr;
    const bool good = metatype(referred) == array_type
                          ? convert_array(c, row, referred, &start)
                          : points_to(row, reinterpret_cast<PyObject *>(Py_TYPE(referred)));
    if (!good) return PyErr_Occurred() ? false : refuse_argument(c, row, given);
    char *address = byref_address(given);
    if (!address) return false;
    const size_t size = size_of(referred);
    const ptrdiff_t offset = address - memory_of(referred);
    const bool inside = offset == 0 || (offset > 0 && static_cast<size_t>(offset) < size);
    const bool between =
        row.type.size && offset % static_cast<ptrdiff_t>(row.type.size) != 0;  // in the middle of an item
    if (!inside || between) return refuse_offset(c, row, offset, size);
    return note_memory(c, row, target, address, size - static_cast<size_t>(offset));
}

bool convert_byref(call &c, const parameter_row &row, PyObject *given, char **target) {
    PyObject *referred = PyObject_GetAttrString(given, "_obj");
    const bool good = referred && convert_reference(c, row, given, referred, target);
    Py_XDECREF(referred);
    return good;
}

// Of an array of structs or pointers more than the shape of its items counts, and of a text without a length its end.
bool is_quick(const parameter_row &row) {
    const type_kind wanted = row.type.kind;
    return wanted == type_kind::ITEMS || wanted == type_kind::BYTES || wanted == type_kind::CHARS ||
           (wanted == type_kind::TEXT && row.bounded);
}

void *allocate(call &c, size_t size) {
    void *block = std::calloc(size ? size : 1, 1);
    if (block)
        c.blocks[c.n_blocks++] = block;
    else
        PyErr_NoMemory();
    return block;
}

bool convert_tuple(call &c, const parameter_row &row, PyObject *given, char **target) {
    const size_t size = static_cast<size_t>(PyTuple_Size(given)) * row.type.size;
    void *block = allocate(c, size);
    if (!block) return false;
    if (fill_numbers(c, row, given, block)) return note_memory(c, row, target, block, size);
    return PyErr_Occurred() ? false : refuse_argument(c, row, given);
}

// A list or tuple of numbers, copied for the time of the call.
bool convert_sequence(call &c, const parameter_row &row, PyObject *given, char **target) {
    PyObject *items = PySequence_Tuple(given);  // which the items' own methods cannot shorten
    const bool done = items && convert_tuple(c, row, items, target);
    Py_XDECREF(items);
    return done;
}

bool convert_text(call &c, const parameter_row &row, PyObject *given, char **target) {
    Py_ssize_t length;
    const char *characters = PyUnicode_AsUTF8AndSize(given, &length);
    if (!characters) return refuse_reason(c, row, LlamaValueError);
    if (std::memchr(characters, 0, static_cast<size_t>(length)))
        return refuse_value(c, row, "must not hold a NUL character; give bytes and their length instead");
    return note_memory(c, row, target, const_cast<char *>(characters), static_cast<size_t>(length));
}

// ctypes lets C write into bytes. Those of one byte are the interpreter's own, which all code shares.
bool writes_into_bytes(const call &c, const parameter_row &row, PyObject *given) {
    if (PyBytes_Size(given) == 1) return refuse_buffer(c, row, given);
    return warn(c, row, LlamaWarning, "is bytes, into which C writes: use ctypes.create_string_buffer() or bytearray");
}

bool convert_bytes(call &c, const parameter_row &row, PyObject *given, char **target) {
    const type_kind wanted = row.type.kind;
    const bool readable =
        wanted == type_kind::TEXT || (row.type.is_const && (wanted == type_kind::BYTES || row.type.size == 1));
    const bool writes_bytes =
        !row.type.is_const && row.type.size == 1 && wanted != type_kind::STRUCT && wanted != type_kind::OBJECT;
    if (wanted == type_kind::CHARS) {
        if (!writes_into_bytes(c, row, given)) return false;
    } else if (!readable) {
        return writes_bytes ? refuse_buffer(c, row, given) : refuse_argument(c, row, given);
    }
    return note_memory(c, row, target, PyBytes_AsString(given), static_cast<size_t>(PyBytes_Size(given)));
}

bool convert_cdata(call &c, const parameter_row &row, ctype_slot type, PyObject *given, char **target) {
    if (cffi_pointer(type, c.function.name, given, target) != 0) return refuse_reason(c, row, PyExc_TypeError);
    note_memory(c, row, target, *target, cffi_size(given));
    const size_t size = c.sizes[position_of(c, row)];
    const bool ends =
        row.type.kind != type_kind::TEXT || row.bounded || size >= null_size || std::memchr(*target, 0, size);
    return ends || refuse_endless(c, row, given);
}

}  // namespace

bool convert_memory(call &c, const parameter_row &row, ctype_slot type, PyObject *given, char **target) {
    if (given == Py_None) return note_memory(c, row, target, nullptr, 0);
    const type_kind wanted = row.type.kind;
    void *memory;
    size_t size;
    if (is_quick(row) && find_array(row.type, given, &memory, &size)) return note_memory(c, row, target, memory, size);
    if (PyBytes_Check(given)) return convert_bytes(c, row, given, target);
    if (PyUnicode_Check(given))
        return wanted == type_kind::TEXT ? convert_text(c, row, given, target) : refuse_argument(c, row, given);
    if (metatype(given) == array_type) return convert_array(c, row, given, target);
    if (is_ctypes(given)) return convert_ctypes(c, row, given, target);
    if (Py_TYPE(given) == byref_type) return convert_byref(c, row, given, target);
    if (is_cdata(given)) return convert_cdata(c, row, type, given, target);
    if (PyObject_CheckBuffer(given)) return convert_buffer(c, row, given, target);
    if (wanted == type_kind::ITEMS && row.type.is_const && (PyList_Check(given) || PyTuple_Check(given)))
        return convert_sequence(c, row, given, target);
    if (wanted == type_kind::BYTES && PyLong_Check(given)) {
        void *address = PyLong_AsVoidPtr(given);
        if (PyErr_Occurred()) return refuse_reason(c, row, LlamaValueError);
        return note_memory(c, row, target, address, unknown_size);
    }
    return refuse_argument(c, row, given);
}

}  // namespace llamacffi
