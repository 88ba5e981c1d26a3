// The rows of the generated `function_table.h`: what each function takes and gives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace llamacffi {

enum class kind : uint8_t {
    VOID,      // no result
    NUMBER,    // integer, float or bool
    ENUM,      // an integer whose size the compiler chose
    TEXT,      // const char *
    CHARS,     // char *, which C writes
    BYTES,     // void *
    ITEMS,     // pointer to numbers
    STRUCT,    // pointer to a struct that the headers define
    OBJECT,    // pointer to a struct that the headers define, but llama.cpp makes and frees
    POINTERS,  // pointer to a pointer
    HANDLE,    // pointer to an opaque struct
    FUNCTION,  // function pointer
    VALUE,     // struct by value
};

struct type_row {
    kind what;
    size_t size;         // of the item that is pointed to, or of the value itself
    char shape;          // of the item: i signed, u unsigned, f float, b bool
    bool is_const;       // C only reads what is pointed to
    const char *python;  // the ctypes type of the item, or the name of the opaque struct
};

struct parameter {
    type_row type;
    const char *name;
    const char *c_type;
    bool nullable;
};

struct function {
    type_row result;
    const char *name;
    const char *doc;
    const char *deprecated;  // what the header says to use instead, or nullptr
    unsigned first;          // its first row in llamacffi_parameters
    unsigned count;
    bool keeps_gil;
    bool frees;
};

template <typename T>
constexpr char shape_of() {
    if (std::is_same_v<T, bool>) return 'b';
    if (std::is_floating_point_v<T>) return 'f';
    return std::is_signed_v<T> ? 'i' : 'u';
}

}  // namespace llamacffi

#include "function_table.h"

namespace llamacffi {

constexpr int compare(const char *a, const char *b) {
    while (*a && *a == *b) ++a, ++b;
    return *a - *b;
}

constexpr bool starts(const char *name, const char *with) {
    while (*with && *name == *with) ++name, ++with;
    return !*with;
}

// Whether `word` is one of the words of `name`, which underscores divide.
constexpr bool has_word(const char *name, const char *word) {
    for (; *name; ++name) {
        const char *a = name, *b = word;
        while (*b && *a == *b) ++a, ++b;
        if (!*b && (*a == '_' || !*a)) return true;
    }
    return false;
}

// `wrapper` is the __func__ of a wrapper that cffi generated: `_cffi_f_` and the C function's name.
constexpr unsigned function_index(const char *wrapper) {
    const char *name = wrapper + sizeof("_cffi_f_") - 1;
    unsigned low = 0, high = sizeof(llamacffi_functions) / sizeof(llamacffi_functions[0]);
    while (low < high) {
        const unsigned middle = (low + high) / 2;
        if (compare(llamacffi_functions[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// `argument` is the wrapper's variable for a parameter: `arg` and its position.
constexpr unsigned parameter_index(const char *wrapper, const char *argument) {
    unsigned position = 0;
    for (const char *digit = argument + 3; *digit; ++digit) position = position * 10 + (*digit - '0');
    return llamacffi_functions[function_index(wrapper)].first + position;
}

}  // namespace llamacffi
