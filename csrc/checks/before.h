// What is checked when all arguments of a call have been converted, right before C is entered.
#pragma once

#include "checks/bounds.h"
#include "checks/handle_table.h"
#include "checks/kept.h"
#include "checks/ownership.h"
#include "checks/places.h"
#include "checks/reads.h"
#include "checks/threads.h"

namespace llamacffi {

// What refuses a call, or makes it wait (checks/threads.h).
template <unsigned Function>
inline bool checked(call &c) {
    constexpr const function_row &function = function_rows[Function];
    if constexpr (function.count > 1) {
        if (!still_alive(c)) return false;
    }
    if (!check_bounds<Function>(c)) return false;
    if constexpr (function.n_places != 0) {
        if (!check_places(c)) return false;
    }
    if constexpr (asks_handles(function)) {
        if (!ask_handles<Function>(c)) return false;
    }
    if constexpr (function.checks[0].check != nullptr) {
        for (const check_row &one : function.checks) {
            if (one.check && !one.check(c, one.position)) return false;
        }
        if (!still_alive(c)) return false;
    }
    if constexpr (function.taken != nowhere) {
        if (!can_take(c)) return false;
    }
    if constexpr (frees_one_handle(function)) {
        if (!can_free(c)) return false;
    }
    if constexpr (marks_handles(function)) {
        if (!enter_handles<Function>(c)) return false;
    }
    return true;
}

template <unsigned Function>
inline bool before(call &c) {
    constexpr const function_row &function = function_rows[Function];
#ifndef LLAMACFFI_UNCHECKED
    while (!checked<Function>(c)) {
        if (!wait_for_others(c)) return false;
    }
#endif
    if constexpr (frees_one_handle(function)) begin_end(c.addresses[0], function, c.more());
#ifndef LLAMACFFI_UNCHECKED
    if constexpr (function.taken != nowhere) take(c);
#endif
    if constexpr (keeps_arguments(function) && !makes_owner(function)) {
        if (!keep_arguments(c)) return leave_handles(c), false;
    }
    return true;
}

}  // namespace llamacffi
