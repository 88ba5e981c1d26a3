// Python objects into C arguments: every C parameter type of the headers, by the kind in its row.
//
// The templates hold what is worth inlining (integers, handles, bytes); everything else is an ordinary function
// that reads the row. Nothing is converted that the table in docs/border.md does not list.
#pragma once

#include <Python.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "call.h"
#include "callbacks.h"
#include "cffi_backend.h"
#include "ctypes_objects.h"
#include "errors.h"

namespace llamacffi {

// ---------------------------------------------------------------- numbers

// What a ctypes number holds; a new reference.
static PyObject *ctypes_value(PyObject *given) { return PyObject_GetAttrString(given, "value"); }

// An integer out of anything that is one: int, bool, NumPy integers (__index__), ctypes and cffi numbers.
static PyObject *as_index(const call &c, const parameter &row, PyObject *given) {
    PyObject *number = nullptr;
    if (metatype(given) == simple_type) {
        PyObject *value = ctypes_value(given);
        number = value && PyLong_Check(value) ? PyNumber_Index(value) : nullptr;
        Py_XDECREF(value);
    } else if (PyIndex_Check(given)) {
        number = PyNumber_Index(given);
    } else if (is_cdata(given)) {
        number = PyNumber_Long(given);
    }
    if (number) return number;
    PyErr_Clear();
    refuse_type(c, row, given, "an integer");
    return nullptr;
}

static bool out_of_range(const call &c, const parameter &row, PyObject *number) {
    PyErr_Clear();
    PyObject *text = PyObject_Str(number);
    const char *digits = text ? PyUnicode_AsUTF8AndSize(text, nullptr) : nullptr;
    refuse_value(c, row, std::string("cannot hold ") + (digits ? digits : "this number"));
    Py_XDECREF(text);
    return false;
}

template <typename T> static bool integer_from_long(const call &c, const parameter &row, PyObject *number, T *target) {
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

template <typename T> static bool integer(const call &c, const parameter &row, PyObject *given, T *target) {
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
    PyErr_Clear();
    return refuse_type(c, row, given, "a number");
}

static bool boolean(const call &c, const parameter &row, PyObject *given, bool *target) {
    PyObject *value = metatype(given) == simple_type ? ctypes_value(given) : nullptr;
    PyObject *truth = value ? value : given;
    const bool numeric = PyBool_Check(truth) || PyNumber_Check(truth);
    const int answer = numeric ? PyObject_IsTrue(truth) : -1;
    Py_XDECREF(value);
    if (answer >= 0) {
        *target = answer != 0;
        return true;
    }
    PyErr_Clear();
    return refuse_type(c, row, given, "True or False");
}

template <typename T> static inline T number(const call &c, const parameter &row, PyObject *given) {
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
    remember_size(c, row, size);
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
        case 'b': case 'h': case 'i': case 'l': case 'q': case 'n': return 'i';
        case 'B': case 'H': case 'I': case 'L': case 'Q': case 'N': return 'u';
        case 'e': case 'f': case 'd': case 'g': return 'f';
        case '?': return 'b';
        case 'c': case 's': return 'c';
        case '&': case 'P': case 'z': case 'Z': case 'O': return 'p';
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
    switch (type.what) {
        case kind::BYTES: return shape != '>';
        case kind::TEXT: case kind::CHARS: return size == 1 && shape != 'b';
        case kind::POINTERS: return size == sizeof(void *) && (shape == 'p' || shape == 'u');
        case kind::STRUCT: case kind::OBJECT: return size == type.size && shape == 's';
        default: break;
    }
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
    return refuse_value(c, row, std::string("needs a C-contiguous") + (row.type.is_const ? "" : ", writable") +
                                    " buffer; this " + type_name(given) + " is not");
}

// Anything with the buffer protocol: the memory itself is handed to C, and held until the call ends.
static bool buffer(call &c, const parameter &row, PyObject *given, char **target) {
    Py_buffer *view = &c.views[c.n_views];
    const int flags = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (row.type.is_const ? 0 : PyBUF_WRITABLE);
    if (PyObject_GetBuffer(given, view, flags) < 0) return refuse_buffer(c, row, given);
    ++c.n_views;
    const char shape = shape_of_format(view->format);
    if (!fits(row.type, shape, static_cast<size_t>(view->itemsize))) return refuse_items(c, row, given, *view);
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
        case 'h': case 'H': return sizeof(short);
        case 'i': case 'I': return sizeof(int);
        case 'l': case 'L': return sizeof(long);
        case 'q': case 'Q': return sizeof(long long);
        case 'f': return sizeof(float);
        case 'd': return sizeof(double);
        case 'P': case 'z': case 'Z': return sizeof(void *);
        default: return 1;
    }
}

// Whether `type` (a ctypes type) can stand where the row's item type is pointed to.
static bool points_to(const call &c, const parameter &row, PyObject *type) {
    const type_row &wanted = row.type;
    if (wanted.what == kind::BYTES) return true;
    PyTypeObject *meta = Py_TYPE(type);
    if (wanted.what == kind::STRUCT || wanted.what == kind::OBJECT || wanted.what == kind::VALUE) {
        static PyObject *known[sizeof(llamacffi_parameters) / sizeof(llamacffi_parameters[0])];
        PyObject *&cached = known[&row - llamacffi_parameters];
        if (!cached) cached = type_named(wanted.python);
        return cached && PyType_IsSubtype(reinterpret_cast<PyTypeObject *>(type), reinterpret_cast<PyTypeObject *>(cached));
    }
    if (wanted.what == kind::POINTERS && (meta == pointer_type || meta == function_type)) return true;
    if (meta != simple_type) return false;
    const char letter = type_code(type);
    return fits(wanted, shape_of_letter(letter), size_of_code(letter));
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
                          ? buffer(c, row, referred, &start)
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
    if (block) c.blocks[c.n_blocks++] = block;
    else PyErr_NoMemory();
    return block;
}

template <typename T>
static bool fill(const call &c, const parameter &row, PyObject *sequence, Py_ssize_t length, void *block) {
    T *items = static_cast<T *>(block);
    for (Py_ssize_t i = 0; i < length; ++i) {
        PyObject *item = PySequence_GetItem(sequence, i);
        const bool failed = !item || ((items[i] = number<T>(c, row, item)) == static_cast<T>(-1) && PyErr_Occurred());
        Py_XDECREF(item);
        if (failed) return false;
    }
    return true;
}

// A list or tuple of numbers, copied for the time of the call.
static bool sequence(call &c, const parameter &row, PyObject *given, char **target) {
    const Py_ssize_t length = PySequence_Size(given);
    const size_t size = static_cast<size_t>(length) * row.type.size;
    void *block = length < 0 ? nullptr : allocate(c, size);
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

static bool text(call &c, const parameter &row, PyObject *given, char **target) {
    Py_ssize_t length;
    const char *characters = PyUnicode_AsUTF8AndSize(given, &length);
    if (!characters) return refuse_reason(c, row, LlamaValueError);
    if (std::memchr(characters, 0, static_cast<size_t>(length)))
        return refuse_value(c, row, "must not hold a NUL character; give bytes and their length instead");
    return give(c, row, target, const_cast<char *>(characters), static_cast<size_t>(length) + 1);
}

static bool bytes(call &c, const parameter &row, PyObject *given, char **target) {
    const kind what = row.type.what;
    const bool readable = what == kind::TEXT || (row.type.is_const && (what == kind::BYTES || row.type.size == 1));
    if (!readable) return row.type.is_const ? refuse(c, row, given) : refuse_buffer(c, row, given);
    return give(c, row, target, PyBytes_AsString(given), static_cast<size_t>(PyBytes_Size(given)) + 1);
}

static bool cdata(call &c, const parameter &row, struct _cffi_ctypedescr *type, PyObject *given, char **target) {
    if (cffi_pointer(type, given, target) != 0) return refuse_reason(c, row, PyExc_TypeError);
    remember_size(c, row, unknown_size);
    return true;
}

// Every kind of pointer but handles and functions.
static bool memory(call &c, const parameter &row, struct _cffi_ctypedescr *type, PyObject *given, char **target) {
    if (given == Py_None) return give(c, row, target, nullptr, 0);
    const kind what = row.type.what;
    if (PyBytes_Check(given)) return bytes(c, row, given, target);
    if (PyUnicode_Check(given)) return what == kind::TEXT ? text(c, row, given, target) : refuse(c, row, given);
    if (metatype(given) == array_type) return buffer(c, row, given, target);
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
    return refuse_value(c, row, std::string("must be a live ") + row.type.python + ", not NULL; did its creation fail?");
}

static bool pointer_number(PyObject *given, void **address) {
    PyObject *value = ctypes_value(given);
    *address = value && value != Py_None ? PyLong_AsVoidPtr(value) : nullptr;
    Py_XDECREF(value);
    return !PyErr_Occurred();
}

static bool handle(call &c, const parameter &row, struct _cffi_ctypedescr *type, PyObject *given, char **target) {
    void *address = nullptr;
    if (PyLong_Check(given)) {
        address = PyBool_Check(given) ? nullptr : PyLong_AsVoidPtr(given);
        if (PyBool_Check(given)) return refuse(c, row, given);
        if (PyErr_Occurred()) return refuse_reason(c, row, LlamaValueError);
    } else if (given == Py_None) {
        address = nullptr;
    } else if (metatype(given) == simple_type) {
        if (!pointer_number(given, &address)) return PyErr_Clear(), refuse(c, row, given);
    } else if (row.type.what == kind::HANDLE && metatype(given) == pointer_type) {
        address = *reinterpret_cast<void **>(memory_of(given));  // llama_model_p and its siblings
    } else if (is_cdata(given)) {
        if (cffi_pointer(type, given, target) != 0) return refuse_reason(c, row, PyExc_TypeError);
        address = *target;
    } else if (row.type.what == kind::OBJECT && !PyBytes_Check(given) && (is_ctypes(given) || Py_TYPE(given) == byref_type)) {
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

static char *callback(call &c, const parameter &row, struct _cffi_ctypedescr *type, PyObject *given) {
    if (given == Py_None) return nullptr;
    char *address = nullptr;
    if (metatype(given) == function_type) {
        if (same_signature(row, given)) address = *reinterpret_cast<char **>(memory_of(given));
        else if (!PyErr_Occurred()) refuse_type(c, row, given, std::string("made with llama_cpp.") + row.type.python);
    } else if (is_cdata(given)) {
        address = cffi_function(given, type);
        if (PyErr_Occurred()) refuse_reason(c, row, PyExc_TypeError);
    } else {
        refuse_type(c, row, given, std::string("made with llama_cpp.") + row.type.python + "(…), a cffi callback or None");
    }
    return address;
}

// A struct by value, or an enum.
static bool value(call &c, const parameter &row, struct _cffi_ctypedescr *type, PyObject *given, char *target) {
    if (row.type.what == kind::ENUM) {
        int number;
        unsigned whole;
        if (PyLong_CheckExact(given) && PyLong_AsLongLong(given) > std::numeric_limits<int>::max()) {
            if (!integer(c, row, given, &whole)) return false;
            std::memcpy(target, &whole, row.type.size);
            return true;
        }
        PyErr_Clear();
        if (!integer(c, row, given, &number)) return false;
        std::memcpy(target, &number, row.type.size);
        return true;
    }
    if (metatype(given) == struct_type) {
        if (!points_to(c, row, reinterpret_cast<PyObject *>(Py_TYPE(given)))) {
            PyErr_Clear();
            return refuse_type(c, row, given, std::string("a ") + row.type.python + " struct");
        }
        std::memcpy(target, memory_of(given), row.type.size);
        return true;
    }
    if (!is_cdata(given)) return refuse_type(c, row, given, std::string("a ") + row.type.python + " struct");
    if (cffi_value(target, type, given) < 0) return refuse_reason(c, row, PyExc_TypeError);
    return true;
}

// ---------------------------------------------------------------- what the macros in border.h call

template <unsigned Row>
static inline bool pointer_by_kind(call &c, struct _cffi_ctypedescr *type, PyObject *given, char **target) {
    constexpr const parameter &row = llamacffi_parameters[Row];
    if constexpr (row.type.what == kind::HANDLE) {
        if (PyLong_CheckExact(given)) {
            *target = static_cast<char *>(PyLong_AsVoidPtr(given));
            if (*target) return true;
            PyErr_Clear();
        }
        return handle(c, row, type, given, target);
    } else if constexpr (row.type.what == kind::OBJECT) {
        return handle(c, row, type, given, target);
    } else {
        return memory(c, row, type, given, target);
    }
}

template <unsigned Function, unsigned Row>
static inline Py_ssize_t pointer(call &c, struct _cffi_ctypedescr *type, PyObject *given, char **target) {
    constexpr const function &what = llamacffi_functions[Function];
    if (!pointer_by_kind<Row>(c, type, given, target)) return -1;
    if constexpr (Row == what.first && (what.frees || keeps_arguments(what))) {
        c.owner = *target;
        if (what.frees) take_kept(c, *target);
    }
    return 0;
}

}  // namespace llamacffi
