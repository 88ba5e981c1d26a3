// What is checked when all arguments of a call have been converted, right before C is entered.
#pragma once

#include "checks/bounds.h"
#include "checks/handle_table.h"
#include "checks/kept.h"
#include "checks/ownership.h"
#include "checks/threads.h"

namespace llamacffi {

template <unsigned Function>
inline bool before(call &c) {
    constexpr const function_row &function = function_rows[Function];
#ifndef LLAMACFFI_UNCHECKED
    if constexpr (function.count > 1) {
        if (c.generation != handles.generation && !check_again(c)) return false;
    }
    if (!check_bounds<Function>(c)) return false;
    if constexpr (function.exclusive) {
        if (!check_alone(c)) return false;
    }
    if constexpr (function.checks[0].check != nullptr) {
        for (const check_row &one : function.checks) {
            if (one.check && !one.check(c, one.position)) return false;
        }
    }
    if constexpr (function.taken != nowhere) {
        if (!take(c)) return false;
    }
    if constexpr (frees_one_handle(function)) {
        if (!can_free(c)) return false;
    }
#endif
    if constexpr (function.frees != nowhere && function.count == 1) release_kept(c, c.owner);
#ifndef LLAMACFFI_UNCHECKED
    if constexpr (frees_one_handle(function))
        handles.free(c.addresses[0], function);
    else if constexpr (marks_handles(function))
        return enter_handles(c);
#endif
    return true;
}

}  // namespace llamacffi
