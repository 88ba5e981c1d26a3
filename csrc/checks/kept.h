// What C holds on to after a call: callbacks and structs of the caller's, kept alive as long as C may use them.
#pragma once

#include "core/call.h"

namespace llamacffi {

// Functions that hand what they keep to a new object: it is kept when that is there.
constexpr bool makes_owner(const function_row &function) {
    return function.result.kind == type_kind::HANDLE || function.result.kind == type_kind::OBJECT;
}

constexpr bool keeps_arguments(const function_row &function) {
    for (unsigned i = 0; i < function.count; ++i) {
        if (parameter_rows[function.first + i].kept != keeping::NOT) return true;
    }
    return false;
}

// Keep what the call hands to C, for its owner; nullptr is the process. Where the owner is there already, that is done
// before C is entered; what it replaces is dropped after the call, unless that raises: then C may have either.
bool keep_arguments(call &c);
void keep_replaced(call &c);

void keep_alive(const void *owner, const parameter_row &row, PyObject *object, std::vector<PyObject *> &replaced);

// `copy` keeps what `original` does.
void copy_kept(const void *copy, const void *original);

// Take what `owner` keeps out of the table before C frees it: its address may be somebody else's right after.
void take_kept(const void *owner, std::vector<PyObject *> &taken);

}  // namespace llamacffi
