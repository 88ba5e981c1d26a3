// Every pointer that has a length: the length against the real size of the buffer that came.
//
// Which parameters these are stands in bindgen/policy.toml, as `bounds` and `strings`.
#pragma once

#include <limits>
#include <type_traits>

#include "core/call.h"

namespace llamacffi {

bool check_bound(const call &c, const bound_row &bound);
bool check_strings(const call &c, const strings_row &strings);

template <unsigned Function>
inline bool check_bounds(const call &c) {
    constexpr const function_row &function = function_rows[Function];
    for (unsigned i = 0; i < function.n_bounds; ++i) {
        if (!check_bound(c, bound_rows[function.first_bound + i])) return false;
    }
    for (unsigned i = 0; i < function.n_strings; ++i) {
        if (!check_strings(c, strings_rows[function.first_strings + i])) return false;
    }
    return true;
}

// Remember an integer argument, where a check wants it.
template <unsigned Function, typename T>
inline T note_number(call &c, const parameter_row &row, T value) {
    if constexpr (notes_numbers(function_rows[Function])) {
        const bool huge = sizeof(T) == 8 && !std::is_signed_v<T> && static_cast<unsigned long long>(value) >> 63;
        c.numbers[position_of(c, row)] = huge ? std::numeric_limits<long long>::max() : static_cast<long long>(value);
    }
    return value;
}

}  // namespace llamacffi
