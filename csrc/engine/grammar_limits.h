// What llama.cpp's grammars do by recursion or without a bound, done in bounded stack, memory and time;
// grammar_recursion.h puts it in their place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "llama-grammar.h"

#include "deep_stack.h"

namespace llamacffi {

// ---------------------------------------------------------------- parsing

// A new grammar is parsed, and has taken no memory so far; the text again.
const char *begin_grammar(const char *text);

// The name that another rule is called after, whose memory is counted.
const std::string &counted_name(const std::string &name);

// Whether an item of so many elements can be repeated so often; UINT64_MAX is without an end.
void check_repetition(size_t elements, uint64_t least, uint64_t most);

const char *parse_deeper(llama_grammar_parser &parser, const char *text, const std::string &name, uint32_t rule,
                         bool is_nested);

// ---------------------------------------------------------------- rules

bool detect_left_recursion(const llama_grammar_rules &rules, size_t index, std::vector<bool> *visited,
                           std::vector<bool> *in_progress, std::vector<bool> *may_be_empty);

// ---------------------------------------------------------------- stacks

// A grammar is applied to candidates, or accepts a token; what that costs is counted from here.
void begin_work();
void spend(size_t units);

// All stacks that stand before a character and come out of `stack`, which are added to `found`.
void advance_stack(const llama_grammar_rules &rules, const llama_grammar_stack &stack, llama_grammar_stacks &found);

using reject_function = llama_grammar_candidates (*)(const llama_grammar_rules &, const llama_grammar_stacks &,
                                                     const llama_grammar_candidates &);

// By recursion over the characters of the candidates.
llama_grammar_candidates reject_deeper(reject_function reject, const llama_grammar_rules &rules,
                                       const llama_grammar_stacks &stacks, const llama_grammar_candidates &candidates);
llama_grammar_candidates reject_first(reject_function reject, const llama_grammar_rules &rules,
                                      const llama_grammar_stacks &stacks, const llama_grammar_candidates &candidates);

inline llama_grammar &begin_accepting(llama_grammar &grammar) {
    begin_work();
    return grammar;
}

}  // namespace llamacffi
