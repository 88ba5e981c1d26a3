// States in memory: of a whole context, and of one sequence.
#include "engine/states.h"

#include "border.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (inputs::lasting_context &context : inputs::lasting_contexts()) {
        context.use([&](llama_context *ctx) { return llamacffi::state_set_data(nullptr, ctx, data, size); });
        context.use([&](llama_context *ctx) { return llama_state_seq_set_data(ctx, data, size, 0); });
    }
    return 0;
}
