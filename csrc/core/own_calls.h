// Calls of functions of ours that do more than one of C's, and obey the same rules: arguments by a C function's row,
// handles looked up and entered, exceptions guarded.
#pragma once

#include "checks/handle_table.h"
#include "checks/threads.h"
#include "convert/handles.h"
#include "core/guard.h"

namespace llamacffi {

// The row of a C function; at compile time, where a name that is not there is an error.
constexpr const function_row &row_of(const char *name) {
    for (const function_row &one : function_rows) {
        if (compare(one.name, name) == 0) return one;
    }
    throw "llama.cpp has no such function any more";
}

// The same under the name that our messages begin with.
constexpr function_row renamed(const function_row &original, const char *name) {
    function_row row = original;
    row.name = name;
    return row;
}

// The argument `position`, a live handle; `type` is its cffi type, for cdata.
inline bool take_handle(call &c, unsigned position, PyObject *type) {
    const parameter_row &row = c.parameters()[position];
    void *slot = type;
    char *address = nullptr;
    if (!convert_handle(c, row, &slot, c.arguments[position], &address)) return false;
    c.addresses[position] = address;
    return judge_handle(c, row, address);
}

template <typename T>
T *handle_at(const call &c, unsigned position) {
    return static_cast<T *>(const_cast<void *>(c.addresses[position]));
}

// Enter the handles, when nobody is in the way any more.
inline bool enter_in_turn(call &c) {
    while (!enter_handles(c)) {
        if (!wait_for_others(c)) return false;
    }
    return true;
}

// Enter the handles and act in C, without the GIL; false with an exception.
template <typename Act>
bool act_in_c(call &c, Act act) {
    if (!enter_in_turn(c)) return false;
    running run(c, false);
    try {
        act();
    }
    LLAMACFFI_CATCH_UNWIND
    catch (...) {
        run.failed();
        return false;
    }
    return run.leave();
}

}  // namespace llamacffi
