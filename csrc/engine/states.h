// States and session files: what C takes for granted of a state that may be damaged, and the old names without a
// length.
#pragma once

#include <mutex>

#include "core/call.h"

namespace llamacffi {

extern std::mutex states_mutex;  // of what is known of states on the device

size_t set_state_data(call *c, llama_context *ctx, const uint8_t *src);
size_t state_set_data(call *, llama_context *ctx, const uint8_t *src, size_t size);
bool state_load_file(call *, llama_context *ctx, const char *path, llama_token *tokens, size_t capacity, size_t *count);

// With LLAMA_STATE_SEQ_FLAGS_ON_DEVICE a context keeps the larger part of a state, and looks whether it belongs to what
// it is given in a destructor, where nothing can be thrown. So that is asked before.
size_t state_seq_get_data_ext(call *, llama_context *ctx, uint8_t *dst, size_t size, llama_seq_id sequence,
                              llama_state_seq_flags flags);
size_t state_seq_set_data_ext(call *, llama_context *ctx, const uint8_t *src, size_t size, llama_seq_id sequence,
                              llama_state_seq_flags flags);

// The context is about to be freed.
void forget_stored_states(const llama_context *ctx);

}  // namespace llamacffi
