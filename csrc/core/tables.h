// The rows of the generated `function_table.h`: what each function takes and gives, and what bindgen/policy.toml says
// of it.
//
// They are `inline constexpr`: one object in all translation units, since rows are told apart by their addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml-opt.h"
#include "ggml-rpc.h"
#include "ggml.h"
#include "gguf.h"
#include "llama.h"
#include "mtmd-helper.h"
#include "mtmd.h"

namespace llamacffi {

struct call;
class extent;

enum class type_kind : uint8_t {
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
    type_kind kind;
    size_t size;         // of the item that is pointed to, or of the value itself
    char shape;          // of the item: i signed, u unsigned, f float, b bool
    bool is_const;       // C only reads what is pointed to
    const char *python;  // the ctypes type of the item, or the name of the opaque struct
};

// What becomes of a callback or a struct that C holds on to.
enum class keeping : uint8_t { NOT, KEEPS, REPLACES };

// How a call uses an object: it looks at what never changes, reads beside others that read, or changes it alone.
enum class access : uint8_t { LOOKS, READS, CHANGES };

constexpr int8_t nowhere = -1;   // in the place of a parameter's position
constexpr int8_t one_item = -1;  // in the place of a length's position

// Which values of an enum are good: below `count`, among those that the header names, or what `good` says.
struct enum_row {
    const char *name;
    long long count;         // or 0
    const long long *named;  // or nullptr
    unsigned n_named;
    bool (*good)(long long);  // or nullptr
};

// A field of a struct that functions take; what `parameter_row` says of an argument, this says of a field.
struct field_row {
    type_row type;
    const char *name;
    const char *c_type;
    size_t offset;
    uint8_t handle;          // the kind of the handle, or no_kind
    int8_t fields;           // of a pointer: the row of the struct that it points to, or nowhere
    bool required;           // C calls or reads what it points to without asking whether it is there
    const enum_row *values;  // of an enum of which only some values are good; otherwise nullptr
    long long least, most;   // of a number
    long long unset;         // good as well: it stands for no value
};

struct struct_row {
    const char *name;
    unsigned first, count;  // its rows in field_rows
    size_t size;
    size_t end;    // where the pointer is that is NULL in the last of an array of these; or SIZE_MAX
    bool checked;  // a rule holds for the value of one of them
};

struct parameter_row {
    type_row type;
    const char *name;
    const char *also;  // another name for it in a call, or nullptr
    const char *c_type;
    uint8_t handle;          // the kind of the handle, or no_kind
    bool nullable;           // C takes NULL
    bool bounded;            // a length belongs to it
    bool required;           // C reads it without asking whether it is there
    keeping kept;            // after the call
    access how;              // a handle is used
    bool open;               // callbacks of the call may use it too
    bool wraps;              // a number that its type cannot hold is taken as C would
    const enum_row *values;  // of an enum of which only some values are good; otherwise nullptr
    int8_t fields;           // of a struct that C reads: its row in struct_rows, or nowhere
    long long least, most;   // of a number
};

// A pointer whose length another parameter says.
struct bound_row {
    uint8_t pointer;
    int8_t length;
    bool null_is_good;  // whatever the length says
};

// What only a formula over the other arguments tells: how much is behind a pointer, which numbers are good, or how much
// memory a call takes.
enum class formula_kind : uint8_t { LENGTH, RANGE, MEMORY };

struct formula_row {
    formula_kind kind;
    uint8_t position;
    bool null_is_good;  // whatever the length is
    extent (*least)(const call &);
    extent (*most)(const call &);
};

// Pointers to texts that C reads without asking.
struct strings_row {
    uint8_t pointer, length, each;  // each: how many pointers an item has
};

constexpr int32_t itself = -1;     // in the place of a field's offset: the argument
constexpr int32_t all_items = -2;  // or what stands in the array that it is

// What a new object reads as long as it lives: an argument, or a field of one.
struct read_row {
    uint8_t position;
    int32_t field;
};

enum class ending : uint8_t { ONE, COUNTED, ENDED, OUT };

// Where handles stand in an argument that is none: a field, an array, an array that a field points to.
struct place_row {
    uint8_t position;
    uint8_t handle;
    ending how;        // ONE is a field; COUNTED has its length beside it; ENDED ends with a NULL; C fills OUT
    int32_t field;     // of the struct, or `itself`
    int32_t count;     // COUNTED: the field, or where the argument is an array the parameter, with its length
    uint32_t item;     // size of an item
    uint32_t at, end;  // in an item: the handle, and the pointer that is NULL in the last
    const char *name;
};

struct check_row {
    bool (*check)(call &, unsigned position);
    uint8_t position;
};

struct function_row {
    type_row result;
    const char *name;
    const char *doc;
    const char *deprecated;  // what the header says to use instead, or nullptr
    unsigned first;          // its first row in parameter_rows
    unsigned count;
    unsigned first_bound, n_bounds, first_strings, n_strings, first_read, n_reads, first_place, n_places, first_formula,
        n_formulas;
    uint8_t result_handle;  // the kind of the handle that it returns, or no_kind
    bool keeps_gil;
    bool plain;                           // C only looks: it cannot fail, log, throw, wait or call back
    extent (*where_plain)(const call &);  // or only where this is not 0; otherwise nullptr
    bool creates;
    bool gives_back;
    bool with_attached;  // what is attached to `computes`, or to the first parameter, is used too
    bool waits;          // it only reads, and ends soon: it waits for others, and others wait for it
    bool ignores_more;   // arguments that it once had
    bool as_pointer;     // the handle that it returns is a ctypes pointer
    int8_t owner;        // the parameter that the result belongs to
    int8_t frees;        // the parameter that is freed
    int8_t computes;     // the parameter whose graph runs
    int8_t taken, taker;
    int8_t copies;  // the result reads and keeps what this one does
    check_row checks[2];
    void (*after)(call &, const void *result);
};

struct kind_row {
    const char *name = "";
    bool known = false;
    bool dies_with_owner = false;
    bool lives_on = false;
    bool exclusive = false;
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

// `wrapper` is the __func__ of a wrapper that cffi generated: `_cffi_f_` and the C function's name.
constexpr unsigned function_index(const char *wrapper) {
    const char *name = wrapper + sizeof("_cffi_f_") - 1;
    unsigned low = 0, high = std::size(function_rows);
    while (low < high) {
        const unsigned middle = (low + high) / 2;
        if (compare(function_rows[middle].name, name) < 0)
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
    return function_rows[function_index(wrapper)].first + position;
}

// Whether only some values are good of a number that is known at compile time.
constexpr bool is_limited(const parameter_row &row) { return row.least != INT64_MIN || row.most != INT64_MAX; }

// The row of the struct that a parameter takes, where a rule holds for the value of one of its fields.
constexpr const struct_row *checked_struct(const parameter_row &row) {
    return row.fields != nowhere && struct_rows[row.fields].checked ? &struct_rows[row.fields] : nullptr;
}

// Functions whose integers are wanted when all arguments are there.
constexpr bool notes_numbers(const function_row &function) {
    return function.n_bounds || function.n_strings || function.n_places || function.n_formulas ||
           function.checks[0].check || function.after;
}

}  // namespace llamacffi
