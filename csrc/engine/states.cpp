// See states.h.
#include "engine/states.h"

#include <cstring>
#include <fstream>
#include <stdexcept>

#include "engine/logs.h"

namespace llamacffi {

namespace {

// A state begins with a text and its length; upstream makes room for that before it looks whether it is there.
bool starts_with_text(const uint8_t *src, size_t size) {
    uint32_t length = 0;
    if (size < sizeof length) return false;
    std::memcpy(&length, src, sizeof length);
    if (length <= size - sizeof length) return true;
    log_sink(GGML_LOG_LEVEL_ERROR, "llama_state_set_data: the state is damaged: it is shorter than its first text\n",
             nullptr);
    return false;
}

// A session file: magic, version, count and tokens, and then a state. A file that is no such thing C refuses itself.
bool is_whole_session(const char *path) {
    std::ifstream file(path, std::ios::binary);
    uint32_t header[3] = {}, length = 0;
    file.read(reinterpret_cast<char *>(header), sizeof header);
    file.seekg(static_cast<std::streamoff>(header[2]) * static_cast<std::streamoff>(sizeof(llama_token)),
               std::ios::cur);
    file.read(reinterpret_cast<char *>(&length), sizeof length);
    if (!file) return true;
    const std::streamoff here = file.tellg();
    file.seekg(0, std::ios::end);
    if (static_cast<std::streamoff>(length) <= file.tellg() - here) return true;
    log_sink(GGML_LOG_LEVEL_ERROR, "llama_state_load_file: the state in the file is shorter than its first text\n",
             nullptr);
    return false;
}

}  // namespace

// The old names have no length; the buffer that came does.
size_t copy_state_data(call *c, llama_context *ctx, uint8_t *dst) {
    if (!dst || size_behind(c, 1) < llama_state_get_size(ctx))
        throw std::invalid_argument("dst is shorter than llama_state_get_size(ctx)");
    return llama_copy_state_data(ctx, dst);
}

size_t set_state_data(call *c, llama_context *ctx, const uint8_t *src) {
    if (!src) throw std::invalid_argument("src must not be NULL");
    return state_set_data(c, ctx, src, size_behind(c, 1));
}

size_t state_set_data(call *, llama_context *ctx, const uint8_t *src, size_t size) {
    return !src || starts_with_text(src, size) ? llama_state_set_data(ctx, src, size) : 0;
}

bool state_load_file(call *, llama_context *ctx, const char *path, llama_token *tokens, size_t capacity,
                     size_t *count) {
    return is_whole_session(path) && llama_state_load_file(ctx, path, tokens, capacity, count);
}

}  // namespace llamacffi
