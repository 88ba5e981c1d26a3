// The memory that holds a model's weights.
#pragma once

#include "llama.h"

namespace llamacffi {

// Some of ggml-cpu's buffers keep weights in an order that suits the CPU, in which nothing can be read back: upstream
// calls a null pointer. From here on that is an exception.
void refuse_reading_of_reordered_weights();

// Throws where a model has weights in such a buffer.
void require_readable_weights(const llama_model *model);

}  // namespace llamacffi
