// Who is inside of what: one thread at a time changes an object, and nobody frees what a running call uses. Read and
// written with the border's lock held.
//
// Calls that only read, and soon end (`waits` in the policy), are waited for, and wait themselves; who waits is inside
// of nothing by this call, and begins with its checks again, so that whatever changed meanwhile is seen. Out of a
// callback such a call waits for its own kind only: two that are inside of what the other one waits for would wait
// forever.
//
// Each parameter that is a handle says how the call uses it (`access` in core/tables.h, `looks` in the policy). Who
// looks is never refused; who reads is refused while another changes, who changes while anybody reads or changes. The
// calls of one thread are told apart too: a callback is refused what would change under the call that runs it.
#pragma once

#include <mutex>

#include "checks/handle_table.h"
#include "core/call.h"

namespace llamacffi {

// Raise LlamaError, or note that this call has to wait. Returns false.
bool refuse_busy(call &c, const parameter_row &row, const handle &busy);

// After a check that returned false: wait, if that is what it wants. False with an exception.
bool wait_for_others(call &c);

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

bool ask_handles(call &c);

void leave_marked(call &c);

extern unsigned waiting;  // calls that wait for others to leave, with the border's lock
void tell_waiting();

inline void unmark(const entered &inside, const function_row &by) {
    handle *one = handles.find(inside.address);
    if (!one || !one->depth) return;
    --one->depth;
    if (inside.how != access::LOOKS && by.waits && one->brief) --one->brief;
    if (inside.how == access::READS && one->reading) --one->reading;
    if (inside.how == access::CHANGES && one->changing) --one->changing;
}

inline void leave_handles(call &c) {
    if (!c.n_inside) return;
    if (c.n_inside > 1 || c.extras) return leave_marked(c);
    unmark(c.inside[0], c.function);
    c.n_inside = 0;
    if (waiting) tell_waiting();
}

// What is entered is the whole that it is a part of: the context of a memory, the chain of a sampler.
inline handle *whole(handle *one) {
    while (one && one->owner && handle_kinds[one->kind].dies_with_owner) {
        handle *above = handles.find(one->owner);
        if (!above || !handle_kinds[above->kind].exclusive) break;
        one = above;
    }
    return one;
}

inline void mark(call &c, handle &one, access how, bool open) {
    ++one.depth;
    one.reading += how == access::READS;
    one.changing += how == access::CHANGES;
    if (how != access::LOOKS && c.function.waits) {
        ++one.brief;
    } else if (how != access::LOOKS) {
        one.thread = PyThread_get_thread_ident();
        one.inside = &c.function;
    }
    const entered inside{one.address, how, open};
    if (c.n_inside < max_parameters)
        c.inside[c.n_inside++] = inside;
    else
        c.more().inside.push_back(inside);
}

// The only handle among the parameters of a function; or nowhere.
constexpr int only_handle(const function_row &function) {
    int found = nowhere;
    for (unsigned i = 0; i < function.count; ++i) {
        if (parameter_rows[function.first + i].handle == no_kind) continue;
        if (found != nowhere) return nowhere;
        found = static_cast<int>(i);
    }
    return function.n_places || function.with_attached ? nowhere : found;
}

// Most calls use one object, which nobody else does.
inline bool is_free(const handle *one) { return one && !one->depth && !one->partner && !one->waiting && !one->held; }

template <unsigned Function>
inline bool ask_handles(call &c) {
    constexpr int position = only_handle(function_rows[Function]);
    if constexpr (position != nowhere) {
        if (is_free(whole(handles.find(c.addresses[position])))) return true;
    }
    return ask_handles(c);
}

template <unsigned Function>
inline bool enter_handles(call &c) {
    constexpr int position = only_handle(function_rows[Function]);
    if constexpr (position != nowhere) {
        constexpr const parameter_row &row = parameter_rows[function_rows[Function].first + position];
        handle *one = whole(handles.find(c.addresses[position]));
        if (is_free(one) && !c.extras) {
            mark(c, *one, handle_kinds[one->kind].exclusive ? row.how : access::LOOKS, row.open);
            return true;
        }
    }
    return enter_handles(c);
}

// Memory of the object is, or is no more, lent to something that a function kept: nothing may change it meanwhile.
void hold(const void *address);
void let_go(const void *address);
bool refuse_held(const call &c, const parameter_row &row);

// In a child of fork() the threads that were inside, or waited, are gone.
void forget_users();

extern std::mutex waiting_mutex;

}  // namespace llamacffi
