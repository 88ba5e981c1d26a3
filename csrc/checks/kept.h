// What C holds on to after a call: callbacks and structs of the caller's, kept alive as long as C may use them.
#pragma once

#include "core/call.h"

namespace llamacffi {

constexpr bool keeps_arguments(const function_row &function) {
    for (unsigned i = 0; i < function.count; ++i) {
        if (parameter_rows[function.first + i].kept != keeping::NOT) return true;
    }
    return false;
}

// Keep what the call handed to C, for its owner; nullptr is the process.
void keep_arguments(const call &c);

void keep_alive(const void *owner, const parameter_row &row, PyObject *object);

// Take what `owner` keeps out of the table before C frees it: its address may be somebody else's right after.
void take_kept(call &c, const void *owner);

}  // namespace llamacffi
