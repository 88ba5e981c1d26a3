// See adapters.h.
#include "engine/adapters.h"

#include <algorithm>
#include <vector>

#include "checks/ownership.h"

namespace llamacffi {

namespace {

// Let a context apply what it applies, without `freed`.
void take_out(llama_context *ctx, const llama_adapter_lora *freed) {
    std::vector<llama_adapter_lora *> adapters;
    std::vector<float> scales;
    for (const applied_adapter &one : adapters_of(ctx)) {
        if (one.adapter == freed) continue;
        adapters.push_back(one.adapter);
        scales.push_back(one.scale);
    }
    set_adapters(nullptr, ctx, adapters.data(), adapters.size(), scales.data());
}

}  // namespace

int32_t set_adapters(call *, llama_context *ctx, llama_adapter_lora **adapters, size_t count, float *scales) {
    const int32_t status = llama_set_adapters_lora(ctx, adapters, count, scales);
    if (status != 0) return status;
    std::vector<applied_adapter> applied;
    for (size_t i = 0; i < count; ++i) applied.push_back({ctx, adapters[i], scales[i]});
    set_applied(ctx, applied);
    return status;
}

void adapter_free(call *, llama_adapter_lora *adapter) {
    for (const void *ctx : contexts_with(adapter))
        take_out(static_cast<llama_context *>(const_cast<void *>(ctx)), adapter);
    if (adapter) llama_adapter_lora_free(adapter);
}

}  // namespace llamacffi
