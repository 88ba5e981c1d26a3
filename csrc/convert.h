// Python objects into C arguments: every C parameter type of the headers, by the kind in its row.
//
// The templates hold what is worth inlining (integers, handles, bytes); everything else is an ordinary function
// that reads the row. Nothing is converted that the table in docs/border.md does not list.
#pragma once

#include <Python.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "bounds.h"
#include "call.h"
#include "callbacks.h"
#include "cffi_backend.h"
#include "ctypes_objects.h"
#include "errors.h"
#include "handles.h"

namespace llamacffi {

// ---------------------------------------------------------------- numbers

// What a ctypes number holds; a new reference.
static PyObject *ctypes_value(PyObject *given) { return PyObject_GetAttrString(given, "value"); }

// The number in `value`, a new reference to what a foreign object holds, if it is an integer or a bool.
static PyObject *index_and_release(PyObject *value) {
    PyObject *number = value && PyLong_Check(value) ? PyNumber_Index(value) : nullptr;
    Py_XDECREF(value);
    return number;
}

// An integer out of anything that is one: int, bool, NumPy scalars, ctypes and cffi numbers.
static PyObject *as_index(const call &c, const parameter &row, PyObject *given) {
    PyObject *number = nullptr;
    if (metatype(given) == simple_type)
        number = index_and_release(ctypes_value(given));
    else if (PyIndex_Check(given))
        number = PyNumber_Index(given);
    else if (is_cdata(given))
        number = is_cffi_integer(given) ? PyNumber_Long(given) : nullptr;
    else if (PyObject_HasAttrString(given, "dtype"))  // NumPy's bool has no __index__
        number = index_and_release(PyObject_CallMethod(given, "item", nullptr));
    // What the object's own methods raise is the user's to see; the others only say that it is no integer.
    if (!number && (!PyErr_Occurred() || is_conversion_error())) refuse_type(c, row, given, "an integer");
    return number;
}

static bool out_of_range(const call &c, const parameter &row, PyObject *number) {
    PyErr_Clear();
    PyObject *text = PyObject_Str(number);
    const char *digits = text ? PyUnicode_AsUTF8AndSize(text, nullptr) : nullptr;
    std::string shown = digits ? digits : "this number";
    if (shown.size() > 40) shown = shown.substr(0, 20) + "… (" + std::to_string(shown.size()) + " digits)";
    PyErr_Clear();
    Py_XDECREF(text);
    return refuse_value(c, row, "cannot hold " + shown);
}

template <typename T>
static bool integer_from_long(const call &c, const parameter &row, PyObject *number, T *target) {
    if constexpr (std::is_signed_v<T>) {
        int overflow = 0;
        const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
        if (overflow || value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max())
            return out_of_range(c, row, number);
        *target = static_cast<T>(value);
        return true;
    } else {
        const unsigned long long value = PyLong_AsUnsignedLongLong(number);
        if (value == ~0ull && PyErr_Occurred()) return out_of_range(c, row, number);
        if (value > std::numeric_limits<T>::max()) return out_of_range(c, row, number);
        *target = static_cast<T>(value);
        return true;
    }
}

template <typename T>
static bool integer(const call &c, const parameter &row, PyObject *given, T *target) {
    if (PyLong_CheckExact(given)) return integer_from_long(c, row, given, target);
    PyObject *number = as_index(c, row, given);
    const bool done = number && integer_from_long(c, row, number, target);
    Py_XDECREF(number);
    return done;
}

static bool floating(const call &c, const parameter &row, PyObject *given, double *target) {
    PyObject *value = metatype(given) == simple_type ? ctypes_value(given) : nullptr;
    PyObject *number = value ? value : given;
    const bool numeric = PyFloat_Check(number) || PyIndex_Check(number) || is_cdata(number) ||
                         PyObject_HasAttrString(number, "__float__");
    *target = numeric ? PyFloat_AsDouble(number) : 0;
    Py_XDECREF(value);
    if (numeric && !PyErr_Occurred()) return true;
    if (numeric && PyErr_ExceptionMatches(PyExc_OverflowError)) return out_of_range(c, row, given);
    if (PyErr_Occurred() && !is_conversion_error()) return false;
    return refuse_type(c, row, given, "a number");
}

static bool boolean(const call &c, const parameter &row, PyObject *given, bool *target) {
    PyObject *value = metatype(given) == simple_type ? ctypes_value(given) : nullptr;
    PyObject *truth = value ? value : given;
    const bool numeric = is_cdata(truth) ? is_cffi_integer(truth) : PyBool_Check(truth) || PyNumber_Check(truth);
    const int answer = numeric ? PyObject_IsTrue(truth) : -1;
    Py_XDECREF(value);
    if (answer >= 0) {
        *target = answer != 0;
        return true;
    }
    if (PyErr_Occurred() && !is_conversion_error()) return false;
    return refuse_type(c, row, given, "True or False");
}

template <typename T>
static inline T number(const call &c, const parameter &row, PyObject *given) {
    if constexpr (std::is_same_v<T, bool>) {
        if (given == Py_True) return true;
        if (given == Py_False) return false;
        bool value = false;
        return boolean(c, row, given, &value) ? value : static_cast<T>(-1);
    } else if constexpr (std::is_floating_point_v<T>) {
        double value = PyFloat_CheckExact(given) ? PyFloat_AsDouble(given) : 0;
        if (PyFloat_CheckExact(given) || floating(c, row, given, &value)) return static_cast<T>(value);
        return static_cast<T>(-1);
    } else {
        T value = 0;
        return integer(c, row, given, &value) ? value : static_cast<T>(-1);
    }
}

// ---------------------------------------------------------------- memory

static void remember_size(call &c, const parameter &row, size_t size) { c.sizes[position_of(c, row)] = size; }

static bool give(call &c, const parameter &row, char **target, void *memory, size_t size) {
    *target = static_cast<char *>(memory);
    c.memory[position_of(c, row)] = memory;
    remember_size(c, row, memory ? size : null_size);
    return true;
}

static const char *expected(const type_row &type) {
    switch (type.what) {
        case kind::TEXT: return "bytes, str or a char buffer";
        case kind::CHARS: return "a writable char buffer";
        case kind::BYTES: return "a buffer, a pointer or an address";
        case kind::ITEMS: return "a ctypes array or pointer, cdata, or a buffer of that item type";
        case kind::STRUCT: return "a ctypes struct or pointer of that type, or cdata";
        case kind::POINTERS: return "a ctypes array of pointers, a byref, or cdata";
        case kind::HANDLE: return "a handle that a function returned";
        case kind::OBJECT: return "a pointer that a function returned, or a struct of that type";
        case kind::FUNCTION: return "a ctypes callback, a cffi callback or None";
        default: return "a value of that type";
    }
}

static bool refuse(const call &c, const parameter &row, PyObject *given) {
    return refuse_type(c, row, given, expected(row.type));
}

// The shape of an item by its struct-module letter.
static char shape_of_letter(char letter) {
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

static char shape_of_format(const char *format) {
    if (!format) return 'u';
    if (*format == '<' || *format == '=' || *format == '@' || *format == '|') ++format;
    return shape_of_letter(*format);
}

static bool is_whole(char shape) { return shape == 'i' || shape == 'u'; }

// Whether items of this shape and size can be read as the row's items.
static bool fits(const type_row &type, char shape, size_t size) {
    if (shape == '>') return false;  // big-endian, an object, a wide character
    if (type.what == kind::BYTES) return true;
    if (type.what == kind::TEXT || type.what == kind::CHARS) return size == 1 && shape != 'b';
    if (type.what == kind::POINTERS) return size == sizeof(void *) && (shape == 'p' || shape == 'u');
    if (type.what == kind::STRUCT || type.what == kind::OBJECT) return size == type.size && shape == 's';
    if (size != type.size) return false;
    if (size == 1) return shape != 'b';
    if (shape == type.shape || (is_whole(shape) && is_whole(type.shape))) return true;
    return size == 2 && type.shape == 'u' && shape == 'f';  // ggml_fp16_t is a uint16_t that holds a float
}

static bool refuse_items(const call &c, const parameter &row, PyObject *given, const Py_buffer &view) {
    const char *format = view.format ? view.format : "B";
    PyErr_Format(PyExc_TypeError, "%s needs items of %zu bytes that are %s, not %s with items '%s' of %zd bytes",
                 subject(c, row).c_str(), row.type.size, row.type.python, type_name(given).c_str(), format,
                 view.itemsize);
    return false;
}

static bool refuse_buffer(const call &c, const parameter &row, PyObject *given) {
    PyErr_Clear();
    return refuse_value(c, row,
                        std::string("needs a C-contiguous") + (row.type.is_const ? "" : ", writable") +
                            " buffer; this " + type_name(given) + " is not");
}

// Text without a length must end within its buffer; CPython puts a NUL behind a bytearray.
static bool ends(const call &c, const parameter &row, PyObject *given, const Py_buffer &view) {
    return is_bounded(c.what, position_of(c, row)) || PyByteArray_CheckExact(given) ||
           std::memchr(view.buf, 0, static_cast<size_t>(view.len));
}

static bool refuse_endless(const call &c, const parameter &row, PyObject *given) {
    return refuse_value(c, row, "must end with a NUL character, which this " + type_name(given) + " does not hold");
}

// Anything with the buffer protocol: the memory itself is handed to C, and held until the call ends.
static bool buffer(call &c, const parameter &row, PyObject *given, char **target) {
    Py_buffer *view = &c.views[c.n_views];
    const int flags = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (row.type.is_const ? 0 : PyBUF_WRITABLE);
    if (PyObject_GetBuffer(given, view, flags) < 0) return refuse_buffer(c, row, given);
    ++c.n_views;
    const char shape = shape_of_format(view->format);
    if (!fits(row.type, shape, static_cast<size_t>(view->itemsize))) return refuse_items(c, row, given, *view);
    if (row.type.what == kind::TEXT && !ends(c, row, given, *view)) return refuse_endless(c, row, given);
    return give(c, row, target, view->buf, static_cast<size_t>(view->len));
}

// The `_type_` letter of a simple ctypes type: the struct module's letters, and z and P for pointers.
static char type_code(PyObject *type) {
    PyObject *code = PyObject_GetAttrString(type, "_type_");
    const char *letter = code ? PyUnicode_AsUTF8AndSize(code, nullptr) : nullptr;
    const char result = letter ? *letter : '>';
    Py_XDECREF(code);
    if (!letter) PyErr_Clear();
    return result;
}

static size_t size_of_code(char letter) {
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
static PyTypeObject *own_type(const parameter &row) {
    static PyObject *known[sizeof(llamacffi_parameters) / sizeof(llamacffi_parameters[0])];
    PyObject *&cached = known[&row - llamacffi_parameters];
    if (!cached) cached = type_named(row.type.python);
    if (cached) return reinterpret_cast<PyTypeObject *>(cached);
    PyErr_Clear();
    return simple_type;  // of which no ctypes struct is a subtype
}

// An element of an array of pointers: void *, or exactly the pointer that C wants.
static bool is_pointer_to_pointer(const parameter &row, PyObject *type) {
    if (Py_TYPE(type) == simple_type && type_code(type) == 'P') return true;
    if (reinterpret_cast<PyTypeObject *>(type) == own_type(row)) return true;
    if (Py_TYPE(type) == function_type) return PyType_IsSubtype(own_type(row), reinterpret_cast<PyTypeObject *>(type));
    if (Py_TYPE(type) != pointer_type || compare(row.type.python, "c_void_p") != 0) return false;
    PyObject *item = PyObject_GetAttrString(type, "_type_");  // POINTER(c_void_p) is what a handle is called
    const bool good = item && Py_TYPE(item) == simple_type && type_code(item) == 'P';
    Py_XDECREF(item);
    return good;
}

// Whether `type` (a ctypes type) can stand where the row's item type is pointed to.
static bool points_to(const call &c, const parameter &row, PyObject *type) {
    const type_row &wanted = row.type;
    if (wanted.what == kind::BYTES) return true;
    PyTypeObject *meta = Py_TYPE(type);
    if (wanted.what == kind::POINTERS) return is_pointer_to_pointer(row, type);
    if (wanted.what == kind::STRUCT || wanted.what == kind::OBJECT || wanted.what == kind::VALUE)
        return PyType_IsSubtype(reinterpret_cast<PyTypeObject *>(type), own_type(row));
    if (Py_TYPE(type) != simple_type) return false;
    const char letter = type_code(type);
    return fits(wanted, shape_of_letter(letter), size_of_code(letter));
}

// A ctypes array: of structs and of pointers the type must be right, of numbers the format says enough.
static bool array(call &c, const parameter &row, PyObject *given, char **target) {
    const kind what = row.type.what;
    if (what == kind::STRUCT || what == kind::OBJECT || what == kind::POINTERS) {
        PyObject *item = PyObject_GetAttrString(reinterpret_cast<PyObject *>(Py_TYPE(given)), "_type_");
        const bool good = item && points_to(c, row, item);
        Py_XDECREF(item);
        if (!good) return PyErr_Clear(), refuse(c, row, given);
    }
    return buffer(c, row, given, target);
}

// Where a ctypes struct, number, pointer or byref points, or nullptr with an exception.
static bool ctypes_memory(call &c, const parameter &row, PyObject *given, char **target) {
    PyTypeObject *meta = metatype(given);
    PyObject *type = reinterpret_cast<PyObject *>(Py_TYPE(given));
    const kind wanted = row.type.what;
    if (meta == pointer_type) {
        PyObject *item = PyObject_GetAttrString(type, "_type_");
        const bool good = item && points_to(c, row, item);
        Py_XDECREF(item);
        if (!good) return PyErr_Clear(), refuse(c, row, given);
        return give(c, row, target, *reinterpret_cast<void **>(memory_of(given)), unknown_size);
    }
    if (meta == simple_type && (wanted == kind::BYTES || wanted == kind::TEXT || wanted == kind::CHARS)) {
        if (shape_of_letter(type_code(type)) != 'p') return refuse(c, row, given);
        return give(c, row, target, *reinterpret_cast<void **>(memory_of(given)), unknown_size);
    }
    if (meta == function_type && wanted == kind::BYTES)
        return give(c, row, target, *reinterpret_cast<void **>(memory_of(given)), unknown_size);
    if (!points_to(c, row, type)) return PyErr_Clear(), refuse(c, row, given);
    return give(c, row, target, memory_of(given), row.type.what == kind::BYTES ? unknown_size : row.type.size);
}

static bool byref_memory(call &c, const parameter &row, PyObject *given, char **target) {
    PyObject *referred = PyObject_GetAttrString(given, "_obj");
    if (!referred) return false;
    char *start = nullptr;
    remember_size(c, row, row.type.what == kind::BYTES ? unknown_size : row.type.size);
    const bool good = metatype(referred) == array_type
                          ? array(c, row, referred, &start)
                          : points_to(c, row, reinterpret_cast<PyObject *>(Py_TYPE(referred)));
    char *address = good ? byref_address(given) : nullptr;
    const size_t size = c.sizes[position_of(c, row)];
    const size_t offset = address ? static_cast<size_t>(address - memory_of(referred)) : 0;
    Py_DECREF(referred);
    if (address) return give(c, row, target, address, size == unknown_size || offset > size ? size : size - offset);
    return PyErr_Occurred() ? false : refuse(c, row, given);
}

static void *allocate(call &c, size_t size) {
    void *block = std::calloc(size ? size : 1, 1);
    if (block)
        c.blocks[c.n_blocks++] = block;
    else
        PyErr_NoMemory();
    return block;
}

template <typename T>
static bool fill(const call &c, const parameter &row, PyObject *sequence, Py_ssize_t length, void *block) {
    T *items = static_cast<T *>(block);
    for (Py_ssize_t i = 0; i < length; ++i) {
        PyObject *item = PyTuple_GetItem(sequence, i);
        items[i] = number<T>(c, row, item);
        if (items[i] == static_cast<T>(-1) && PyErr_Occurred()) return false;
    }
    return true;
}

static bool tuple(call &c, const parameter &row, PyObject *given, char **target) {
    const Py_ssize_t length = PyTuple_Size(given);
    const size_t size = static_cast<size_t>(length) * row.type.size;
    void *block = allocate(c, size);
    if (!block) return false;
    bool done = false;
    switch (row.type.shape * 16 + static_cast<int>(row.type.size)) {
        case 'f' * 16 + 4: done = fill<float>(c, row, given, length, block); break;
        case 'f' * 16 + 8: done = fill<double>(c, row, given, length, block); break;
        case 'i' * 16 + 1: done = fill<int8_t>(c, row, given, length, block); break;
        case 'i' * 16 + 4: done = fill<int32_t>(c, row, given, length, block); break;
        case 'i' * 16 + 8: done = fill<int64_t>(c, row, given, length, block); break;
        case 'u' * 16 + 1: done = fill<uint8_t>(c, row, given, length, block); break;
        case 'u' * 16 + 2: done = fill<uint16_t>(c, row, given, length, block); break;
        case 'u' * 16 + 4: done = fill<uint32_t>(c, row, given, length, block); break;
        case 'u' * 16 + 8: done = fill<uint64_t>(c, row, given, length, block); break;
        default: return refuse(c, row, given);
    }
    return done && give(c, row, target, block, size);
}

// A list or tuple of numbers, copied for the time of the call.
static bool sequence(call &c, const parameter &row, PyObject *given, char **target) {
    PyObject *items = PySequence_Tuple(given);  // which the items' own methods cannot shorten
    const bool done = items && tuple(c, row, items, target);
    Py_XDECREF(items);
    return done;
}

static bool text(call &c, const parameter &row, PyObject *given, char **target) {
    Py_ssize_t length;
    const char *characters = PyUnicode_AsUTF8AndSize(given, &length);
    if (!characters) return refuse_reason(c, row, LlamaValueError);
    if (std::memchr(characters, 0, static_cast<size_t>(length)))
        return refuse_value(c, row, "must not hold a NUL character; give bytes and their length instead");
    return give(c, row, target, const_cast<char *>(characters), static_cast<size_t>(length));
}

static bool bytes(call &c, const parameter &row, PyObject *given, char **target) {
    const kind what = row.type.what;
    const bool readable = what == kind::TEXT || (row.type.is_const && (what == kind::BYTES || row.type.size == 1));
    const bool writes_bytes = !row.type.is_const && row.type.size == 1 && what != kind::STRUCT && what != kind::OBJECT;
    if (!readable) return writes_bytes ? refuse_buffer(c, row, given) : refuse(c, row, given);
    return give(c, row, target, PyBytes_AsString(given), static_cast<size_t>(PyBytes_Size(given)));
}

static bool cdata(call &c, const parameter &row, ctype_slot type, PyObject *given, char **target) {
    if (cffi_pointer(type, c.what.name, given, target) != 0) return refuse_reason(c, row, PyExc_TypeError);
    remember_size(c, row, unknown_size);
    return true;
}

// Every kind of pointer but handles and functions.
static bool memory(call &c, const parameter &row, ctype_slot type, PyObject *given, char **target) {
    if (given == Py_None) return give(c, row, target, nullptr, 0);
    const kind what = row.type.what;
    if (PyBytes_Check(given)) return bytes(c, row, given, target);
    if (PyUnicode_Check(given)) return what == kind::TEXT ? text(c, row, given, target) : refuse(c, row, given);
    if (metatype(given) == array_type) return array(c, row, given, target);
    if (is_ctypes(given)) return ctypes_memory(c, row, given, target);
    if (Py_TYPE(given) == byref_type) return byref_memory(c, row, given, target);
    if (is_cdata(given)) return cdata(c, row, type, given, target);
    if (PyObject_CheckBuffer(given)) return buffer(c, row, given, target);
    if (what == kind::ITEMS && row.type.is_const && (PyList_Check(given) || PyTuple_Check(given)))
        return sequence(c, row, given, target);
    if (what == kind::BYTES && PyLong_Check(given)) {
        void *address = PyLong_AsVoidPtr(given);
        if (PyErr_Occurred()) return refuse_reason(c, row, LlamaValueError);
        return give(c, row, target, address, unknown_size);
    }
    return refuse(c, row, given);
}

// ---------------------------------------------------------------- handles

static bool null_handle(const call &c, const parameter &row, char **target) {
    *target = nullptr;
    if (row.nullable) return true;
    return refuse_value(c, row,
                        std::string("must be a live ") + row.type.python + ", not NULL; did its creation fail?");
}

// What a c_void_p holds, or a pointer to void *, as which handles are documented (`llama_model_p`).
static bool ctypes_handle(PyObject *given, void **address) {
    PyObject *type = reinterpret_cast<PyObject *>(Py_TYPE(given));
    PyObject *item = metatype(given) == pointer_type ? PyObject_GetAttrString(type, "_type_") : nullptr;
    PyObject *simple = item ? item : type;
    const bool good = Py_TYPE(simple) == simple_type && type_code(simple) == 'P';
    Py_XDECREF(item);
    if (good) *address = *reinterpret_cast<void **>(memory_of(given));
    return good;
}

static bool handle_argument(call &c, const parameter &row, ctype_slot type, PyObject *given, char **target) {
    void *address = nullptr;
    if (PyLong_Check(given)) {
        address = PyBool_Check(given) ? nullptr : PyLong_AsVoidPtr(given);
        if (PyBool_Check(given)) return refuse(c, row, given);
        if (PyErr_Occurred()) return refuse_reason(c, row, LlamaValueError);
    } else if (given == Py_None) {
        address = nullptr;
    } else if (ctypes_handle(given, &address)) {
    } else if (is_cdata(given)) {
        if (cffi_pointer(type, c.what.name, given, target) != 0) return refuse_reason(c, row, PyExc_TypeError);
        address = *target;
    } else if (row.type.what == kind::OBJECT && !PyBytes_Check(given) &&
               (is_ctypes(given) || Py_TYPE(given) == byref_type)) {
        if (!memory(c, row, type, given, target)) return false;
        address = *target;
    } else {
        return refuse(c, row, given);
    }
    *target = static_cast<char *>(address);
    return address ? true : null_handle(c, row, target);
}

// ---------------------------------------------------------------- callbacks and structs

static Py_ssize_t argument_count(PyObject *type) {
    PyObject *types = PyObject_GetAttrString(type, "_argtypes_");
    const Py_ssize_t count = types ? PySequence_Size(types) : -1;
    Py_XDECREF(types);
    return count;
}

// A ctypes callback of another type is taken if it has as many parameters: other bindings spell the same
// C types differently.
static bool same_signature(const parameter &row, PyObject *given) {
    PyObject *type = type_named(row.type.python);
    if (!type) return false;
    PyObject *own = reinterpret_cast<PyObject *>(Py_TYPE(given));
    const bool same = own == type || argument_count(own) == argument_count(type);
    Py_DECREF(type);
    return same && !PyErr_Occurred();
}

static char *callback(call &c, const parameter &row, ctype_slot type, PyObject *given) {
    if (given == Py_None) return nullptr;
    char *address = nullptr;
    if (metatype(given) == function_type) {
        if (same_signature(row, given))
            address = *reinterpret_cast<char **>(memory_of(given));
        else if (!PyErr_Occurred())
            refuse_type(c, row, given, std::string("made with llama_cpp.") + row.type.python);
    } else if (is_cdata(given)) {
        address = cffi_function(type, c.what.name, given);
        if (PyErr_Occurred()) refuse_reason(c, row, PyExc_TypeError);
    } else {
        refuse_type(c, row, given,
                    std::string("made with llama_cpp.") + row.type.python + "(…), a cffi callback or None");
    }
    return address;
}

// The enums by which ggml looks into an array: how many values each has.
static long long enum_size(const parameter &row) {
    static constexpr struct {
        const char *name;
        long long size;
    } sizes[] = {{"enum ggml_type", GGML_TYPE_COUNT},
                 {"enum ggml_op", GGML_OP_COUNT},
                 {"enum ggml_unary_op", GGML_UNARY_OP_COUNT},
                 {"enum ggml_glu_op", GGML_GLU_OP_COUNT},
                 {"enum gguf_type", GGUF_TYPE_COUNT}};
    for (const auto &known : sizes) {
        if (compare(known.name, row.c_type) == 0) return known.size;
    }
    return std::numeric_limits<long long>::max();
}

// An enum, whose signedness the compiler chose.
static bool enumerator(call &c, const parameter &row, PyObject *given, char *target) {
    unsigned whole = 0;
    int number = 0;
    const bool is_unsigned = row.type.shape == 'u';
    if (!(is_unsigned ? integer(c, row, given, &whole) : integer(c, row, given, &number))) return false;
    const long long value = is_unsigned ? static_cast<long long>(whole) : number;
    if (value >= enum_size(row) || (value < 0 && enum_size(row) != std::numeric_limits<long long>::max()))
        return refuse_value(c, row, "has no value " + std::to_string(value));
    if (is_unsigned)
        std::memcpy(target, &whole, sizeof whole);
    else
        std::memcpy(target, &number, sizeof number);
    return true;
}

// A struct by value, or an enum.
static bool value(call &c, const parameter &row, ctype_slot type, PyObject *given, char *target) {
    if (row.type.what == kind::ENUM) return enumerator(c, row, given, target);
    if (metatype(given) == struct_type) {
        if (!points_to(c, row, reinterpret_cast<PyObject *>(Py_TYPE(given)))) {
            PyErr_Clear();
            return refuse_type(c, row, given, std::string("a ") + row.type.python + " struct");
        }
        std::memcpy(target, memory_of(given), row.type.size);
        return true;
    }
    if (!is_cdata(given)) return refuse_type(c, row, given, std::string("a ") + row.type.python + " struct");
    if (cffi_value(target, type, c.what.name, given) < 0) return refuse_reason(c, row, PyExc_TypeError);
    return true;
}

// ---------------------------------------------------------------- what the macros in border.h call

template <typename T>
static bool is_number(const call &c, const parameter &row, PyObject *given) {
    return number<T>(c, row, given) != static_cast<T>(-1) || !PyErr_Occurred();
}

// Convert a number whose C type is only known from its row.
static bool number_by_row(const call &c, const parameter &row, PyObject *given) {
    switch (row.type.shape * 16 + static_cast<int>(row.type.size)) {
        case 'b' * 16 + 1: return is_number<bool>(c, row, given);
        case 'f' * 16 + 4: return is_number<float>(c, row, given);
        case 'f' * 16 + 8: return is_number<double>(c, row, given);
        case 'i' * 16 + 1: return is_number<int8_t>(c, row, given);
        case 'i' * 16 + 2: return is_number<int16_t>(c, row, given);
        case 'i' * 16 + 4: return is_number<int32_t>(c, row, given);
        case 'i' * 16 + 8: return is_number<int64_t>(c, row, given);
        case 'u' * 16 + 1: return is_number<uint8_t>(c, row, given);
        case 'u' * 16 + 2: return is_number<uint16_t>(c, row, given);
        case 'u' * 16 + 4: return is_number<uint32_t>(c, row, given);
        case 'u' * 16 + 8: return is_number<uint64_t>(c, row, given);
        default: return refuse_type(c, row, given, "of a C type that has a rule");
    }
}

// Convert an argument by its row alone. The wrappers choose at compile time; this is the same choice at run time.
static bool by_row(call &c, const parameter &row, ctype_slot type, PyObject *given, char **target) {
    alignas(16) char space[512];
    switch (row.type.what) {
        case kind::NUMBER: return number_by_row(c, row, given);
        case kind::ENUM:
        case kind::VALUE: return row.type.size <= sizeof space && value(c, row, type, given, space);
        case kind::FUNCTION: return (*target = callback(c, row, type, given)) || !PyErr_Occurred();
        case kind::HANDLE:
        case kind::OBJECT: return handle_argument(c, row, type, given, target);
        default: return memory(c, row, type, given, target);
    }
}

template <unsigned Row>
static inline bool pointer_by_kind(call &c, ctype_slot type, PyObject *given, char **target) {
    constexpr const parameter &row = llamacffi_parameters[Row];
    if constexpr (row.type.what == kind::HANDLE) {
        if (PyLong_CheckExact(given)) {
            const size_t address = PyLong_AsSize_t(given);
            *target = reinterpret_cast<char *>(address);
            if (address && address != SIZE_MAX) return true;
            PyErr_Clear();
        }
        return handle_argument(c, row, type, given, target);
    } else if constexpr (row.type.what == kind::OBJECT) {
        return handle_argument(c, row, type, given, target);
    } else {
        return memory(c, row, type, given, target);
    }
}

static bool keeps_struct(PyObject *objects, const void *address, int depth);

static PyObject *attribute(PyObject *object, const char *name) {
    PyObject *value = PyObject_GetAttrString(object, name);
    if (!value) PyErr_Clear();
    return value;
}

// Whether a ctypes struct has memory of its own, or stands in an array or a struct. `.contents` of a pointer has what
// that pointer keeps: of C's pointers nothing.
static bool owns_memory(PyObject *given) {
    if (metatype(given) != struct_type) return false;
    PyObject *owned = attribute(given, "_b_needsfree_"), *base = attribute(given, "_b_base_");
    const bool pointed = base && metatype(base) == pointer_type;
    PyObject *objects = pointed ? attribute(base, "_objects") : nullptr;
    const bool owns = (owned && PyObject_IsTrue(owned) == 1) ||
                      (pointed ? objects && keeps_struct(objects, memory_of(given), 3) : base && base != Py_None);
    for (PyObject *one : {owned, base, objects}) Py_XDECREF(one);
    return owns;
}

// Whether a struct with memory of its own stands among what a ctypes pointer keeps alive.
static bool keeps_struct(PyObject *objects, const void *address, int depth) {
    if (owns_memory(objects)) return memory_of(objects) == address;
    PyObject *key, *value;
    bool found = false;
    if (!depth || !PyDict_Check(objects)) return false;
    for (Py_ssize_t at = 0; !found && PyDict_Next(objects, &at, &key, &value);)
        found = keeps_struct(value, address, depth - 1);
    return found;
}

// A struct of the caller's own, given as itself, by reference or by a pointer that knows it, is trusted: ctypes
// may have made it where something was freed before.
static bool built_by_caller(PyObject *given) {
    if (metatype(given) == struct_type) return owns_memory(given);
    const bool reference = Py_TYPE(given) == byref_type;
    if (!reference && metatype(given) != pointer_type) return false;
    PyObject *behind = PyObject_GetAttrString(given, reference ? "_obj" : "_objects");
    const void *address = reference || !behind ? nullptr : *reinterpret_cast<void **>(memory_of(given));
    const bool built = behind && (reference ? owns_memory(behind) : keeps_struct(behind, address, 3));
    Py_XDECREF(behind);
    PyErr_Clear();
    return built;
}

// Whether a sampler that the table refuses is the caller's own; the refusal is taken back then.
static bool trust(PyObject *given) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!built_by_caller(given)) {
        PyErr_Restore(type, value, traceback);
        return false;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return true;
}

// A number says nothing about what is there; a ctypes object or cdata has a type.
static bool is_sampler(const void *address, PyObject *given) {
#ifdef LLAMACFFI_UNCHECKED
    return true;
#endif
    return handles.find(address) || Py_TYPE(given) == byref_type || is_cdata(given) ||
           (is_ctypes(given) && metatype(given) != simple_type);
}

// Text and structs that C reads without asking whether they are there.
constexpr bool needs_memory(const function &what, unsigned row) {
    const parameter &given = llamacffi_parameters[row];
    if (given.nullable || is_bounded(what, row - what.first)) return false;
    return given.type.what == kind::TEXT || (given.type.what == kind::STRUCT && starts(what.name, "llama_"));
}

template <unsigned Function, unsigned Row>
static inline Py_ssize_t pointer(call &c, ctype_slot type, PyObject *given, char **target) {
    constexpr unsigned position = Row - llamacffi_functions[Function].first;
    constexpr kind what = llamacffi_parameters[Row].type.what;
    if (!pointer_by_kind<Row>(c, type, given, target)) return -1;
    if constexpr (what == kind::HANDLE || what == kind::OBJECT) {
        c.addresses[position] = *target;
        if (!check_handle<Row>(c, *target) && (what != kind::OBJECT || !trust(given))) return -1;
        if (what == kind::OBJECT && *target && !is_sampler(*target, given))
            return refuse_kind(c, llamacffi_parameters[Row], "an address that no call returned"), -1;
    }
    if constexpr (needs_memory(llamacffi_functions[Function], Row)) {
        if (!*target) return refuse_value(c, llamacffi_parameters[Row], "must not be NULL"), -1;
    }
    if constexpr (position == 0) c.owner = *target;
    return 0;
}

}  // namespace llamacffi
