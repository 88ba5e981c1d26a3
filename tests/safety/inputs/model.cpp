// Models: loading, the vocabulary at work, and a first graph. What is left of the context's model is freed either way.
#include <iterator>

#include "border.h"
#include "engine/contexts.h"
#include "engine/ends.h"
#include "engine/models.h"

namespace {

constexpr char text[] = " the cat \xc3\xa9\xf0\x9f\x90\x88 12 don't";

void describe(const llama_model *model) {
    inputs::read_text([&](char *buffer, size_t size) { llama_model_desc(model, buffer, size); });
    for (int32_t i = 0; i < llama_model_meta_count(model); ++i) {
        inputs::read_text([&](char *to, size_t size) { llama_model_meta_key_by_index(model, i, to, size); });
        inputs::read_text([&](char *to, size_t size) { llama_model_meta_val_str_by_index(model, i, to, size); });
    }
    llama_model_chat_template(model, nullptr);
}

void tokenize(const llama_vocab *vocab) {
    llama_token tokens[64];
    const int32_t count = llama_tokenize(vocab, text, sizeof text - 1, tokens, std::size(tokens), true, true);
    char piece[256];
    for (int32_t i = 0; i < count; ++i) llama_token_to_piece(vocab, tokens[i], piece, sizeof piece, 0, true);
    if (count > 0) llama_detokenize(vocab, tokens, count, piece, sizeof piece, false, true);
    for (llama_token token = 0; token < llama_vocab_n_tokens(vocab); ++token)
        llama_token_to_piece(vocab, token, piece, sizeof piece, 0, true);
}

void generate(llama_model *model) {
    llama_context *ctx = inputs::context_of(model);
    if (!ctx) return;
    inputs::survived([&] { inputs::decode_tokens(ctx); });
    llamacffi::free_context(nullptr, ctx);
}

// Odd sizes are read, even ones are mapped: the sanitizer sees where memory ends that was allocated.
void use(const uint8_t *data, size_t size, bool vocab_only) {
    llama_model_params params = llama_model_default_params();
    params.vocab_only = vocab_only;
    params.load_mode = size % 2 ? LLAMA_LOAD_MODE_NONE : LLAMA_LOAD_MODE_MMAP;
    llama_model *model = llamacffi::load_from_file(nullptr, inputs::written(data, size), params);
    if (!model) return;
    inputs::survived([&] { describe(model); });
    inputs::survived([&] { tokenize(llama_model_get_vocab(model)); });
    if (!vocab_only) inputs::survived([&] { generate(model); });
    llamacffi::free_model(nullptr, model);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (const bool vocab_only : {true, false}) inputs::survived([&] { use(data, size, vocab_only); });
    return 0;
}
