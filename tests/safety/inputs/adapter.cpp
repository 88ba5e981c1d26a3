// LoRA adapters of the tiny model: loading, their metadata, and a decode that applies them.
#include "border.h"
#include "engine/adapters.h"

namespace {

void describe(const llama_adapter_lora *adapter) {
    for (int32_t i = 0; i < llama_adapter_meta_count(adapter); ++i) {
        inputs::read_text([&](char *to, size_t size) { llama_adapter_meta_key_by_index(adapter, i, to, size); });
        inputs::read_text([&](char *to, size_t size) { llama_adapter_meta_val_str_by_index(adapter, i, to, size); });
    }
    const uint64_t count = llama_adapter_get_alora_n_invocation_tokens(adapter);
    const llama_token *tokens = llama_adapter_get_alora_invocation_tokens(adapter);
    for (uint64_t i = 0; i < count; ++i) (void)*const_cast<const volatile llama_token *>(tokens + i);
}

void apply(llama_adapter_lora *adapter) {
    static inputs::lasting_context context(inputs::shared_models().front());
    float scale = 1;
    context.use([&](llama_context *ctx) { return llamacffi::set_adapters(nullptr, ctx, &adapter, 1, &scale) == 0; });
}

void use(const uint8_t *data, size_t size) {
    llama_model *model = inputs::shared_models().front();
    llama_adapter_lora *adapter = llama_adapter_lora_init(model, inputs::written(data, size));
    if (!adapter) return;
    describe(adapter);
    apply(adapter);
    llamacffi::adapter_free(nullptr, adapter);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    inputs::survived([&] { use(data, size); });
    return 0;
}
