// See grammars.h.
#include "engine/grammars.h"

#include <cstring>
#include <stdexcept>

namespace llamacffi {

namespace {

// The parser of grammars and std::regex both recurse, the one by parenthesis, the other by character.
constexpr int deepest_group = 1000;
constexpr size_t longest_pattern = 4096;

void check_grammar(const char *text) {
    int depth = 0;
    char inside = 0;  // of "…" or […]
    for (; *text; ++text) {
        if (*text == '\\' && inside && text[1])
            ++text;
        else if (inside)
            inside = *text == inside ? 0 : inside;
        else if (*text == '"')
            inside = '"';
        else if (*text == '[')
            inside = ']';
        else if (*text == '(' && ++depth > deepest_group)
            throw std::invalid_argument("grammar_str nests too many parentheses");
        else if (*text == ')')
            --depth;
    }
}

void check_patterns(const char **patterns, size_t count) {
    size_t length = 0;
    for (size_t i = 0; i < count; ++i) length += std::strlen(patterns[i]);
    if (length > longest_pattern) throw std::invalid_argument("the trigger patterns are longer than 4096 characters");
}

}  // namespace

llama_sampler *init_grammar(call *, const llama_vocab *vocab, const char *grammar, const char *root) {
    check_grammar(grammar);
    return llama_sampler_init_grammar(vocab, grammar, root);
}

llama_sampler *init_grammar_lazy(call *, const llama_vocab *vocab, const char *grammar, const char *root,
                                 const char **words, size_t n_words, const llama_token *tokens, size_t n_tokens) {
    check_grammar(grammar);
    check_patterns(words, n_words);
    return llama_sampler_init_grammar_lazy(vocab, grammar, root, words, n_words, tokens, n_tokens);
}

llama_sampler *init_grammar_lazy_patterns(call *, const llama_vocab *vocab, const char *grammar, const char *root,
                                          const char **patterns, size_t n_patterns, const llama_token *tokens,
                                          size_t n_tokens) {
    check_grammar(grammar);
    check_patterns(patterns, n_patterns);
    return llama_sampler_init_grammar_lazy_patterns(vocab, grammar, root, patterns, n_patterns, tokens, n_tokens);
}

}  // namespace llamacffi
