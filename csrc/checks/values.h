// Which values are good of enums, and of the fields of the structs that C reads.
//
// The rules stand in bindgen/policy.toml, as `enums` and `structs`. Handles inside structs are not looked up here.
#pragma once

#include "core/call.h"

namespace llamacffi {

bool is_good(const enum_row &values, long long value);

// An enum among the arguments. Refused, it is a LlamaValueError and false.
bool check_enum(const call &c, const parameter_row &row, long long value);

// The fields of the struct at `memory`, and of the arrays of structs that it points to.
bool check_fields(const call &c, const parameter_row &row, const struct_row &fields, const void *memory);

template <unsigned Row>
inline bool check_value([[maybe_unused]] const call &c, [[maybe_unused]] const void *memory) {
#ifndef LLAMACFFI_UNCHECKED
    constexpr const struct_row *fields = checked_struct(parameter_rows[Row]);
    if constexpr (fields != nullptr) return check_fields(c, parameter_rows[Row], *fields, memory);
#endif
    return true;
}

bool refuse_null(const call &c, const parameter_row &row);

// A callback that C calls without asking whether it is there.
template <unsigned Row>
inline char *check_callback([[maybe_unused]] const call &c, char *address) {
    if constexpr (parameter_rows[Row].required) {
        if (!address && !PyErr_Occurred()) refuse_null(c, parameter_rows[Row]);
    }
    return address;
}

}  // namespace llamacffi
