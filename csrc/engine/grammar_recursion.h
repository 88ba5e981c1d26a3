/* Included before llama.cpp's llama-grammar.cpp: what recurses there, or has no bound, is done by ours
 * (grammar_limits.h, watched_regex.h). Upstream's file stays as it is, so its function names are macros. The word
 * behind LLAMACFFI_…_ is the one that a use of the name begins with: `const` or `struct` in a definition, the first
 * argument in a call. */
#pragma once

#include <functional>

#include "grammar_limits.h"
#include "watched_regex.h"

#include "stderr_log.h"

/* Parsing recurses by parenthesis. */
#define LLAMACFFI_PARSE_const parse(const
#define LLAMACFFI_PARSE_grammar_str parse(llamacffi::begin_grammar(grammar_str)
#define parse(...) LLAMACFFI_PARSE_##__VA_ARGS__)
#define LLAMACFFI_ALTERNATES_const parse_alternates(const
#define LLAMACFFI_ALTERNATES_pos llamacffi::parse_deeper(*this, pos
#define parse_alternates(...) LLAMACFFI_ALTERNATES_##__VA_ARGS__)
#define LLAMACFFI_GENERATE_const generate_symbol_id(const
#define LLAMACFFI_GENERATE_rule_name generate_symbol_id(llamacffi::counted_name(rule_name)
#define generate_symbol_id(...) LLAMACFFI_GENERATE_##__VA_ARGS__)
#define handle_repetitions(least, most) \
    (llamacffi::check_repetition(rule.size() - last_sym_start, least, most), handle_repetitions(least, most))

/* The search for left recursion recurses by rule, and takes a rule again for each way to it. */
#define LLAMACFFI_LEFT_const llamacffi_unused_detect_left_recursion(const
#define LLAMACFFI_LEFT_rules llamacffi::detect_left_recursion(rules
#define LLAMACFFI_LEFT_vec_rules llamacffi::detect_left_recursion(vec_rules
#define llama_grammar_detect_left_recursion(...) LLAMACFFI_LEFT_##__VA_ARGS__)

/* Stacks can multiply without a bound. */
#define LLAMACFFI_ADVANCE_const llamacffi_unused_advance_stack(const
#define LLAMACFFI_ADVANCE_rules llamacffi::advance_stack(rules
#define LLAMACFFI_ADVANCE_vec_rules llamacffi::advance_stack(vec_rules
#define LLAMACFFI_ADVANCE_grammar llamacffi::advance_stack(grammar
#define llama_grammar_advance_stack(...) LLAMACFFI_ADVANCE_##__VA_ARGS__)
#define LLAMACFFI_ACCEPT_struct llama_grammar_accept_token(struct
#define LLAMACFFI_ACCEPT_grammar llama_grammar_accept_token(llamacffi::begin_accepting(grammar)
#define llama_grammar_accept_token(...) LLAMACFFI_ACCEPT_##__VA_ARGS__)

/* Candidates are rejected by recursion over their characters. */
#define LLAMACFFI_REJECT_const llama_grammar_reject_candidates(const
#define LLAMACFFI_REJECT_rules llamacffi::reject_deeper(&llama_grammar_reject_candidates, rules
#define LLAMACFFI_REJECT_grammar llamacffi::reject_first(&llama_grammar_reject_candidates, grammar
#define llama_grammar_reject_candidates(...) LLAMACFFI_REJECT_##__VA_ARGS__)

/* A copy compares each element of each stack with each element of each rule. */
#define llama_grammar_clone_impl llamacffi_unused_clone_impl

/* <regex> recurses by character, of the pattern and of the text. `std::` stands before each of these. */
#define smatch match_results<llamacffi::watched<char>>
#define regex(source) invoke(llamacffi::compile_trigger, source)
#define regex_match(...) invoke(llamacffi::match_trigger, pattern, __VA_ARGS__)
#define regex_search(...) invoke(llamacffi::search_trigger, pattern, __VA_ARGS__)
