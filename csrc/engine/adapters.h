// LoRA adapters: which ones a context applies, and that one which is freed is taken out of its contexts first.
#pragma once

#include "core/call.h"

namespace llamacffi {

int32_t set_adapters(call *, llama_context *ctx, llama_adapter_lora **adapters, size_t count, float *scales);
void adapter_free(call *, llama_adapter_lora *adapter);

}  // namespace llamacffi
