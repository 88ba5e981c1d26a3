// See items.h.
#include "convert/items.h"

#include <iterator>

#include "core/ctypes_objects.h"

namespace llamacffi {

char shape_of_letter(char letter) {
    switch (letter) {
        case 'b':
        case 'h':
        case 'i':
        case 'l':
        case 'q':
        case 'n': return 'i';
        case 'B':
        case 'H':
        case 'I':
        case 'L':
        case 'Q':
        case 'N': return 'u';
        case 'e':
        case 'f':
        case 'd':
        case 'g': return 'f';
        case '?': return 'b';
        case 'c':
        case 's': return 'c';
        case '&':
        case 'X':
        case 'P':
        case 'z': return 'p';
        case 'T': return 's';
        default: return '>';
    }
}

char shape_of_format(const char *format) {
    if (!format) return 'u';
    if (*format == '<' || *format == '=' || *format == '@' || *format == '|') ++format;
    return shape_of_letter(*format);
}

namespace {

bool is_whole(char shape) { return shape == 'i' || shape == 'u'; }

}  // namespace

bool item_fits(const type_row &type, char shape, size_t size) {
    if (shape == '>') return false;  // big-endian, an object, a wide character
    if (type.kind == type_kind::BYTES) return true;
    if (type.kind == type_kind::TEXT || type.kind == type_kind::CHARS) return size == 1 && shape != 'b';
    if (type.kind == type_kind::POINTERS) return size == sizeof(void *) && (shape == 'p' || shape == 'u');
    if (type.kind == type_kind::STRUCT || type.kind == type_kind::OBJECT) return size == type.size && shape == 's';
    if (size != type.size) return false;
    if (size == 1) return (shape == 'b') == (type.shape == 'b');
    if (shape == type.shape || (is_whole(shape) && is_whole(type.shape))) return true;
    return size == 2 && type.shape == 'u' && shape == 'f';  // ggml_fp16_t is a uint16_t that holds a float
}

char type_code(PyObject *type) {
    PyObject *code = PyObject_GetAttrString(type, "_type_");
    const char *letter = code ? PyUnicode_AsUTF8AndSize(code, nullptr) : nullptr;
    const char result = letter ? *letter : '>';
    Py_XDECREF(code);
    if (!letter) PyErr_Clear();
    return result;
}

namespace {

size_t size_of_code(char letter) {
    switch (letter) {
        case 'h':
        case 'H': return sizeof(short);
        case 'i':
        case 'I': return sizeof(int);
        case 'l':
        case 'L': return sizeof(long);
        case 'q':
        case 'Q': return sizeof(long long);
        case 'f': return sizeof(float);
        case 'd': return sizeof(double);
        case 'P':
        case 'z': return sizeof(void *);
        case 'g': return sizeof(long double);
        default: return 1;
    }
}

// The ctypes type of what the row points to, asked for once.
PyTypeObject *own_type(const parameter_row &row) {
    static PyObject *known[std::size(parameter_rows)];
    PyObject *&cached = known[&row - parameter_rows];
    if (PyObject *found = cached ? nullptr : type_named(row.type.python)) cached = found;
    if (cached) return reinterpret_cast<PyTypeObject *>(cached);
    PyErr_Clear();
    return simple_type;  // of which no ctypes struct is a subtype
}

// An element of an array of pointers: void *, or exactly the pointer that C wants.
bool is_pointer_to_pointer(const parameter_row &row, PyObject *type) {
    if (Py_TYPE(type) == simple_type && type_code(type) == 'P') return true;
    if (reinterpret_cast<PyTypeObject *>(type) == own_type(row)) return true;
    if (Py_TYPE(type) == function_type) return PyType_IsSubtype(own_type(row), reinterpret_cast<PyTypeObject *>(type));
    if (Py_TYPE(type) != pointer_type || compare(row.type.python, "c_void_p") != 0) return false;
    PyObject *item = PyObject_GetAttrString(type, "_type_");  // POINTER(c_void_p) is what a handle is called
    const bool good = item && Py_TYPE(item) == simple_type && type_code(item) == 'P';
    Py_XDECREF(item);
    return good;
}

}  // namespace

bool points_to(const parameter_row &row, PyObject *type) {
    const type_row &wanted = row.type;
    if (wanted.kind == type_kind::BYTES) return true;
    if (wanted.kind == type_kind::POINTERS) return is_pointer_to_pointer(row, type);
    if (wanted.kind == type_kind::STRUCT || wanted.kind == type_kind::OBJECT || wanted.kind == type_kind::VALUE)
        return PyType_IsSubtype(reinterpret_cast<PyTypeObject *>(type), own_type(row));
    if (Py_TYPE(type) != simple_type) return false;
    const char letter = type_code(type);
    return item_fits(wanted, shape_of_letter(letter), size_of_code(letter));
}

}  // namespace llamacffi
