// Samplers: what C takes for granted of one that the caller built, and of candidates.
#pragma once

#include "core/call.h"

namespace llamacffi {

llama_sampler *sampler_init(call *, llama_sampler_i *iface, llama_sampler_context_t ctx);
// As C's own; what they throw is caught also where foreign code calls them by their address.
llama_sampler *init_grammar(call *, const llama_vocab *vocab, const char *grammar, const char *root);
llama_sampler *init_grammar_lazy(call *, const llama_vocab *vocab, const char *grammar, const char *root,
                                 const char **words, size_t n_words, const llama_token *tokens, size_t n_tokens);
llama_sampler *init_grammar_lazy_patterns(call *, const llama_vocab *vocab, const char *grammar, const char *root,
                                          const char **patterns, size_t n_patterns, const llama_token *tokens,
                                          size_t n_tokens);

const char *sampler_name(call *, const llama_sampler *sampler);
void sampler_apply(call *, llama_sampler *sampler, llama_token_data_array *candidates);

}  // namespace llamacffi
