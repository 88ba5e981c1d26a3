// GGUF metadata: what C takes for granted of a key's type, an index and a buffer.
#pragma once

#include "core/call.h"

namespace llamacffi {

const char *gguf_array_text(call *, const gguf_context *gguf, int64_t key, size_t index);
void gguf_set_array(call *c, gguf_context *gguf, const char *key, gguf_type type, const void *data, size_t count);
void gguf_meta_data(call *c, const gguf_context *gguf, void *data);

}  // namespace llamacffi
