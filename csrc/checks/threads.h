// Who is inside of what: one thread at a time changes an object, and nobody frees what a running call uses. Read and
// written with the border's lock held.
//
// Each parameter that is a handle says how the call uses it (`access` in core/tables.h, `looks` in the policy). Who
// looks is never refused; who reads is refused while another changes, who changes while anybody reads or changes. The
// calls of one thread are told apart too: a callback is refused what would change under the call that runs it.
#pragma once

#include "core/call.h"

namespace llamacffi {

struct handle;

bool refuse_busy(const call &c, const parameter_row &row, const handle &busy);

// Calls that release the GIL mark their handles.
constexpr bool marks_handles(const function_row &function) {
    if (function.keeps_gil || function.frees != nowhere) return false;
    for (unsigned i = 0; i < function.count; ++i) {
        if (parameter_rows[function.first + i].handle != no_kind) return true;
    }
    return function.n_places != 0;
}

// Calls that keep the GIL only ask whether others are inside.
constexpr bool asks_handles(const function_row &function) {
    if (!function.keeps_gil || function.frees != nowhere) return false;
    for (unsigned i = 0; i < function.count; ++i) {
        if (parameter_rows[function.first + i].how != access::LOOKS) return true;
    }
    return false;
}

// Mark what this call uses as in use, or refuse where it would meet another.
bool enter_handles(call &c);

bool ask_handles(const call &c);

void leave_marked(call &c);

inline void leave_handles(call &c) {
    if (c.n_inside) leave_marked(c);
}

// In a child of fork() the threads that were inside are gone.
void forget_users();

}  // namespace llamacffi
