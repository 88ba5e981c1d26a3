// One thread at a time in a context, and nobody frees what a running call uses. Read and written with the GIL held.
#pragma once

#include "core/call.h"

namespace llamacffi {

struct handle;

// What names a thread: the address of one of its variables.
inline const void *this_thread() { return &current; }

bool refuse_busy(const call &c, const parameter_row &row, const handle &busy);

// Calls that release the GIL mark their handles.
constexpr bool marks_handles(const function_row &function) {
    if (function.keeps_gil || function.frees != nowhere) return false;
    for (unsigned i = 0; i < function.count; ++i) {
        if (parameter_rows[function.first + i].handle != no_kind) return true;
    }
    return false;
}

// Mark what this call uses as in use by this thread, or refuse if another one is inside the same context.
bool enter_handles(call &c);

// For a call that keeps the GIL and must be alone all the same.
bool check_alone(const call &c);

void leave_marked(call &c);

inline void leave_handles(call &c) {
    if (c.n_inside) leave_marked(c);
}

// In a child of fork() the threads that were inside are gone.
void forget_users();

}  // namespace llamacffi
