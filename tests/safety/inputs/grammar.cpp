// Grammars: the text, and behind a zero byte a trigger pattern, which makes the grammar a lazy one.
#include "engine/samplers.h"

#include <cmath>

#include "border.h"

namespace {

constexpr int steps = 8;

const llama_vocab *vocab() { return llama_model_get_vocab(inputs::shared_models().front()); }

llama_sampler *sampler_of(const std::vector<std::string> &given) {
    const char *grammar = given[0].c_str(), *pattern = given.back().c_str();
    if (given.size() == 1) return llamacffi::init_grammar(nullptr, vocab(), grammar, "root");
    return llamacffi::init_grammar_lazy_patterns(nullptr, vocab(), grammar, "root", &pattern, 1, nullptr, 0);
}

// The first token that the grammar takes.
llama_token first_of(llama_sampler *sampler) {
    std::vector<llama_token_data> items;
    for (llama_token token = 0; token < llama_vocab_n_tokens(vocab()); ++token) items.push_back({token, 0.0f, 0.0f});
    llama_token_data_array candidates = {items.data(), items.size(), -1, false};
    llama_sampler_apply(sampler, &candidates);
    for (const llama_token_data &one : items)
        if (std::isfinite(one.logit)) return one.id;
    return llama_vocab_eos(vocab());
}

// A lazy grammar takes all until its trigger comes, so a token of a letter is handed in besides.
void follow(llama_sampler *sampler) {
    llama_sampler_accept(sampler, llama_vocab_n_tokens(vocab()) - 1);
    for (int step = 0; step < steps; ++step) llama_sampler_accept(sampler, first_of(sampler));
}

void use(const std::vector<std::string> &given) {
    llama_sampler *sampler = sampler_of(given);
    if (!sampler) return;
    inputs::survived([&] { llama_sampler_free(llama_sampler_clone(sampler)); });
    inputs::survived([&] { follow(sampler); });
    llama_sampler_reset(sampler);
    inputs::survived([&] { first_of(sampler); });
    llama_sampler_free(sampler);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    inputs::survived([&] { use(inputs::texts(data, size, 1)); });
    return 0;
}
