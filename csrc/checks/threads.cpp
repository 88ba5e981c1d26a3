// See threads.h.
#include "checks/threads.h"

#include "checks/handle_table.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

// What must not be entered twice: the object itself, or what it belongs to and is a part of (a context's memory).
handle *exclusive_behind(const parameter_row &row, const void *address) {
    if (row.type.kind != type_kind::HANDLE || !handle_kinds[row.handle].exclusive) return nullptr;
    handle *known = handles.find(address);
    return known && known->owner && handle_kinds[known->kind].dies_with_owner ? handles.find(known->owner) : known;
}

void enter_handle(call &c, handle &one) {
    one.user = this_thread();
    one.computing |= c.function.computes != nowhere && c.addresses[c.function.computes] == one.address;
    ++one.depth;
    c.inside[c.n_inside++] = one.address;
}

}  // namespace

bool refuse_busy(const call &c, const parameter_row &row, const handle &busy) {
    const char *reason =
        busy.user == this_thread() ? "is in use by the call that runs this callback" : "is in use by another thread";
    PyErr_Format(LlamaError, "%s %s", subject(c, row).c_str(), reason);
    return false;
}

bool enter_handles(call &c) {
    for (unsigned i = 0; i < c.function.count; ++i) {
        const parameter_row &row = c.parameters()[i];
        if (row.handle == no_kind) continue;
        handle *alone = exclusive_behind(row, c.addresses[i]);
        if (alone && alone->depth && (alone->user != this_thread() || (alone->computing && !c.function.reenters)))
            return leave_handles(c), refuse_busy(c, row, *alone);
        handle *one = alone ? alone : handles.find(c.addresses[i]);
        if (one) enter_handle(c, *one);
    }
    return true;
}

bool check_alone(const call &c) {
    for (unsigned i = 0; i < c.function.count; ++i) {
        const handle *alone = exclusive_behind(c.parameters()[i], c.addresses[i]);
        if (alone && alone->depth) return refuse_busy(c, c.parameters()[i], *alone);
    }
    return true;
}

void leave_marked(call &c) {
    while (c.n_inside) {
        handle *one = handles.find(c.inside[--c.n_inside]);
        if (!one || !one->depth) continue;
        if (--one->depth == 0) one->computing = false;
    }
}

void forget_users() {
    handles.for_each([](handle &one) { one.depth = 0; });
}

}  // namespace llamacffi
