// See values.h.
#include "checks/values.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/errors.h"

namespace llamacffi {

// A type that C once had, or has only a place for, has no blocks.
bool good_block_size(long long value) { return ggml_get_type_traits(static_cast<ggml_type>(value))->blck_size > 0; }

bool is_good(const enum_row &values, long long value) {
    if (values.count && (value < 0 || value >= values.count)) return false;
    const long long *end = values.named + values.n_named;
    if (values.named && std::find(values.named, end, value) == end) return false;
    return !values.good || values.good(value);
}

bool check_enum(const call &c, const parameter_row &row, long long value) {
    if (!row.values || is_good(*row.values, value)) return true;
    return refuse_value(c, row, "has no value " + std::to_string(value));
}

namespace {

// An integer or an enum, wherever it stands.
long long number_at(const type_row &type, const char *place) {
    const auto read = [&](auto sample) {
        std::memcpy(&sample, place, sizeof sample);
        return static_cast<long long>(sample);
    };
    const bool is_signed = type.shape == 'i';
    switch (type.size) {
        case 1: return is_signed ? read(int8_t()) : read(uint8_t());
        case 2: return is_signed ? read(int16_t()) : read(uint16_t());
        case 4: return is_signed ? read(int32_t()) : read(uint32_t());
        default: return is_signed ? read(int64_t()) : std::max(0ll, read(int64_t()));
    }
}

// Says where a field stands: `params`, and for an item of an array `params.tt_overrides[2]`.
struct place {
    const call &c;
    const parameter_row &row;
    std::string path;
};

bool refuse(const place &where, const field_row &field, const std::string &detail) {
    PyErr_Format(LlamaValueError, "%s(): %s.%s (%s)%s", where.c.function.name, where.path.c_str(), field.name,
                 field.c_type, detail.c_str());
    return false;
}

bool check_number(const place &where, const field_row &field, const char *memory) {
    const long long value = number_at(field.type, memory + field.offset);
    if (value == field.unset && field.unset != INT64_MIN) return true;
    if (field.values && !is_good(*field.values, value))
        return refuse(where, field, " has no value " + std::to_string(static_cast<int>(value)));
    if (value >= field.least && value <= field.most) return true;
    return refuse(where, field, out_of_limits(field.least, field.most, value));
}

bool check_struct(const place &where, const struct_row &fields, const char *memory);

// An array whose last item says that it is the last.
bool check_array(const place &where, const field_row &field, const struct_row &fields, const char *items) {
    for (size_t i = 0; items; ++i, items += fields.size) {
        const char *last = nullptr;
        std::memcpy(&last, items + fields.end, sizeof last);
        if (!last) return true;
        const std::string path = where.path + "." + field.name + "[" + std::to_string(i) + "]";
        if (!check_struct({where.c, where.row, path}, fields, items)) return false;
    }
    return true;
}

bool check_pointer(const place &where, const field_row &field, const char *memory) {
    const char *pointer = nullptr;
    std::memcpy(&pointer, memory + field.offset, sizeof pointer);
    if (!pointer && field.required) return refuse(where, field, " must not be NULL");
    const struct_row *behind = field.fields == nowhere ? nullptr : &struct_rows[field.fields];
    return !behind || !behind->checked || behind->end == SIZE_MAX || check_array(where, field, *behind, pointer);
}

bool check_struct(const place &where, const struct_row &fields, const char *memory) {
    for (unsigned i = fields.first; i < fields.first + fields.count; ++i) {
        const field_row &field = field_rows[i];
        const bool is_integer = field.type.shape == 'i' || field.type.shape == 'u';
        const bool is_number = field.type.kind == type_kind::NUMBER || field.type.kind == type_kind::ENUM;
        if (is_number ? is_integer && !check_number(where, field, memory) : !check_pointer(where, field, memory))
            return false;
    }
    return true;
}

}  // namespace

bool refuse_null(const call &c, const parameter_row &row) { return refuse_value(c, row, "must not be NULL"); }

bool check_fields(const call &c, const parameter_row &row, const struct_row &fields, const void *memory) {
    return check_struct({c, row, row.name}, fields, static_cast<const char *>(memory));
}

}  // namespace llamacffi
