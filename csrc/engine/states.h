// States and session files: what C takes for granted of a state that may be damaged, and the old names without a
// length.
#pragma once

#include "core/call.h"

namespace llamacffi {

size_t copy_state_data(call *c, llama_context *ctx, uint8_t *dst);
size_t set_state_data(call *c, llama_context *ctx, const uint8_t *src);
size_t state_set_data(call *, llama_context *ctx, const uint8_t *src, size_t size);
bool state_load_file(call *, llama_context *ctx, const char *path, llama_token *tokens, size_t capacity, size_t *count);

}  // namespace llamacffi
