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
bool refuse_limits(const call &c, const parameter_row &row, long long number);

// Most bounds hold at first sight: a buffer of a known size with room for all.
inline bool holds(const call &c, const bound_row &bound, size_t item) {
    const unsigned long long count =
        bound.length == one_item ? 1 : static_cast<unsigned long long>(c.numbers[bound.length]);
    return c.sizes[bound.pointer] < null_size && count <= c.sizes[bound.pointer] / item;
}

template <unsigned Function>
inline bool check_bounds(const call &c) {
    constexpr const function_row &function = function_rows[Function];
    for (unsigned i = 0; i < function.n_bounds; ++i) {
        const bound_row &bound = bound_rows[function.first_bound + i];
        const size_t item = parameter_rows[function.first + bound.pointer].type.size;
        if (!holds(c, bound, item) && !check_bound(c, bound)) return false;
    }
    for (unsigned i = 0; i < function.n_strings; ++i) {
        if (!check_strings(c, strings_rows[function.first_strings + i])) return false;
    }
    return true;
}

// An integer in the type that holds them all: what is greater than it holds is its greatest.
template <typename T>
constexpr long long widened(T value) {
    const bool huge = sizeof(T) == 8 && !std::is_signed_v<T> && static_cast<unsigned long long>(value) >> 63;
    return huge ? std::numeric_limits<long long>::max() : static_cast<long long>(value);
}

// Remember an integer argument, where a check wants it, and refuse it beyond its limits: -1 with an exception.
template <unsigned Function, unsigned Row, typename T>
inline T note_number(call &c, T value) {
    constexpr const parameter_row &row = parameter_rows[Row];
    if constexpr (notes_numbers(function_rows[Function]))
        c.numbers[Row - function_rows[Function].first] = widened(value);
#ifndef LLAMACFFI_UNCHECKED
    if constexpr (is_limited(row)) {
        const long long number = widened(value);
        if ((number < row.least || number > row.most) && !refuse_limits(c, row, number)) return static_cast<T>(-1);
    }
#endif
    return value;
}

}  // namespace llamacffi
