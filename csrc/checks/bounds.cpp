// See bounds.h.
#include "checks/bounds.h"

#include <algorithm>
#include <string>

#include "core/errors.h"

namespace llamacffi {

namespace {

bool refuse_size(const call &c, const parameter_row &row, size_t items, size_t has) {
    const std::string wanted = std::to_string(items) + (items == 1 ? " item" : " items");
    if (has == null_size) return refuse_value(c, row, "is NULL, where C reads or writes " + wanted);
    return refuse_value(c, row,
                        "holds " + std::to_string(has / row.type.size) + ", where C may read or write " + wanted);
}

}  // namespace

bool check_bound(const call &c, const bound_row &bound) {
    const parameter_row &row = c.parameters()[bound.pointer];
    const long long count = bound.length == one_item ? 1 : c.numbers[bound.length];
    const size_t has = c.sizes[bound.pointer];
    if (count <= 0 || has == unknown_size || (has == null_size && bound.null_is_good)) return true;
    const size_t items = static_cast<size_t>(count);
    return (has != null_size && items <= has / row.type.size) || refuse_size(c, row, items, has);
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

}  // namespace llamacffi
