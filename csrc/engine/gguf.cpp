// See gguf.h.
#include "engine/gguf.h"

#include <stdexcept>

namespace llamacffi {

const char *gguf_array_text(call *, const gguf_context *gguf, int64_t key, size_t index) {
    if (gguf_get_arr_type(gguf, key) != GGUF_TYPE_STRING || index >= gguf_get_arr_n(gguf, key))
        throw std::out_of_range("the key holds no text at that index");
    return gguf_get_arr_str(gguf, key, index);
}

void gguf_set_array(call *c, gguf_context *gguf, const char *key, gguf_type type, const void *data, size_t count) {
    static constexpr size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    const size_t has = size_behind(c, 3), item = sizes[type];
    if (!item || !data) throw std::invalid_argument("type must be a number type, and data not NULL");
    if (has != unknown_size && count > has / item) throw std::invalid_argument("data holds fewer than n items");
    gguf_set_arr_data(gguf, key, type, data, count);
}

void gguf_meta_data(call *c, const gguf_context *gguf, void *data) {
    if (!data || size_behind(c, 1) < gguf_get_meta_size(gguf))
        throw std::invalid_argument("data is shorter than gguf_get_meta_size(ctx)");
    gguf_get_meta_data(gguf, data);
}

}  // namespace llamacffi
