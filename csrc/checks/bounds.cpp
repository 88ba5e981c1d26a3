// See bounds.h.
#include "checks/bounds.h"

#include <algorithm>
#include <string>

#include "core/errors.h"

namespace llamacffi {

// The way of a bound that does not hold at first sight.
bool check_bound(const call &c, const bound_row &bound) {
    const parameter_row &row = c.parameters()[bound.pointer];
    const long long count = bound.length == one_item ? 1 : c.numbers[bound.length];
    const size_t has = c.sizes[bound.pointer];
    if (count < 0)
        return refuse_value(c, c.parameters()[bound.length], "must not be negative, not " + std::to_string(count));
    if (!count || has == unknown_size || (has == null_size && bound.null_is_good)) return true;
    const size_t items = static_cast<size_t>(count);
    if (has != null_size && items <= has / row.type.size) return true;
    return refuse_value(c, row, too_short(row, items, has).substr(1));
}

bool check_strings(const call &c, const strings_row &strings) {
    const char *const *texts = static_cast<const char *const *>(c.memory[strings.pointer]);
    const size_t count = static_cast<size_t>(std::max(0ll, c.numbers[strings.length])) * strings.each;
    for (size_t i = 0; texts && i < count; ++i) {
        if (texts[i]) continue;
        return refuse_value(c, c.parameters()[strings.pointer], "holds NULL at " + std::to_string(i / strings.each));
    }
    return true;
}

bool refuse_limits(const call &c, const parameter_row &row, long long number) {
    if (PyErr_Occurred()) return false;  // it was no number
    return refuse_value(c, row, out_of_limits(row.least, row.most, number).substr(1));
}

}  // namespace llamacffi
