// GGUF files as gguf.h reads them, from memory: metadata, the table of tensors, and the tensors' data.
#include "border.h"

namespace {

void read_array(const gguf_context *gguf, int64_t key) {
    const size_t count = gguf_get_arr_n(gguf, key);
    if (gguf_get_arr_type(gguf, key) != GGUF_TYPE_STRING) return;
    for (size_t i = 0; i < count; ++i) gguf_get_arr_str(gguf, key, i);
}

void read_keys(const gguf_context *gguf) {
    for (int64_t key = 0; key < gguf_get_n_kv(gguf); ++key) {
        gguf_get_key(gguf, key);
        if (gguf_get_kv_type(gguf, key) == GGUF_TYPE_ARRAY)
            read_array(gguf, key);
        else if (gguf_get_kv_type(gguf, key) == GGUF_TYPE_STRING)
            gguf_get_val_str(gguf, key);
        else
            gguf_get_val_data(gguf, key);
    }
}

void read_tensors(const gguf_context *gguf, ggml_context *ctx) {
    for (int64_t i = 0; i < gguf_get_n_tensors(gguf); ++i) {
        gguf_get_tensor_offset(gguf, i);
        gguf_get_tensor_size(gguf, i);
        const ggml_tensor *tensor = ggml_get_tensor(ctx, gguf_get_tensor_name(gguf, i));
        if (!tensor || !tensor->data) continue;
        ggml_validate_row_data(tensor->type, tensor->data, ggml_nbytes(tensor));
    }
}

void read(const uint8_t *data, size_t size, bool no_alloc) {
    ggml_context *ctx = nullptr;
    gguf_context *gguf = gguf_init_from_buffer(data, size, {no_alloc, &ctx});
    if (!gguf) return;
    inputs::survived([&] { read_keys(gguf), read_tensors(gguf, ctx); });
    inputs::survived([&] {
        std::vector<uint8_t> meta(gguf_get_meta_size(gguf));
        gguf_get_meta_data(gguf, meta.data());
    });
    gguf_free(gguf);
    ggml_free(ctx);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (const bool no_alloc : {true, false}) inputs::survived([&] { read(data, size, no_alloc); });
    return 0;
}
