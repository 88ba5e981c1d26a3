// Files of states: sessions, and those of one sequence.
#include <iterator>

#include "border.h"
#include "engine/states.h"

namespace {

void load(inputs::lasting_context &context, const char *path) {
    llama_token tokens[16];
    const size_t capacity = std::size(tokens);
    size_t count = 0;
    context.use(
        [&](llama_context *ctx) { return llamacffi::state_load_file(nullptr, ctx, path, tokens, capacity, &count); });
    context.use([&](llama_context *ctx) { return llama_state_seq_load_file(ctx, path, 0, tokens, capacity, &count); });
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = inputs::written(data, size);
    for (inputs::lasting_context &context : inputs::lasting_contexts()) load(context, path);
    return 0;
}
