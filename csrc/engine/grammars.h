// Grammars: texts and patterns on which the parsers behind them would recurse too deeply are refused.
#pragma once

#include "core/call.h"

namespace llamacffi {

llama_sampler *init_grammar(call *, const llama_vocab *vocab, const char *grammar, const char *root);
llama_sampler *init_grammar_lazy(call *, const llama_vocab *vocab, const char *grammar, const char *root,
                                 const char **words, size_t n_words, const llama_token *tokens, size_t n_tokens);
llama_sampler *init_grammar_lazy_patterns(call *, const llama_vocab *vocab, const char *grammar, const char *root,
                                          const char **patterns, size_t n_patterns, const llama_token *tokens,
                                          size_t n_tokens);

}  // namespace llamacffi
