// Every function that takes a pointer and a length: the length against the real size of the buffer that came.
//
// One row a pair. A pointer whose length is one item has the count `one_item`. What is not in the table either takes no
// length (a path, a name), and then only has to end with a NUL, or has its own check in before.h, or is listed with its
// reason in tests/safety/test_bounds_table.py.
#pragma once

#include <cstdint>
#include <string>

#include "call.h"
#include "errors.h"

namespace llamacffi {

struct bound {
    const char *function;
    int8_t pointer;  // position of the pointer
    int8_t count;    // position of the length, in items
};

constexpr int8_t one_item = -1;

static constexpr bound bounds[] = {
    {"ggml_bf16_to_fp32_row", 0, 2},
    {"ggml_bf16_to_fp32_row", 1, 2},
    {"ggml_fp16_to_fp32_row", 0, 2},
    {"ggml_fp16_to_fp32_row", 1, 2},
    {"ggml_fp32_to_bf16_row", 0, 2},
    {"ggml_fp32_to_bf16_row", 1, 2},
    {"ggml_fp32_to_bf16_row_ref", 0, 2},
    {"ggml_fp32_to_bf16_row_ref", 1, 2},
    {"ggml_fp32_to_fp16_row", 0, 2},
    {"ggml_fp32_to_fp16_row", 1, 2},
    {"gguf_set_arr_str", 2, 3},
    {"llama_adapter_meta_key_by_index", 2, 3},
    {"llama_adapter_meta_val_str", 2, 3},
    {"llama_adapter_meta_val_str_by_index", 2, 3},
    {"llama_batch_ext_set_pos", 2, one_item},
    {"llama_batch_get_one", 0, 1},
    {"llama_chat_apply_template", 1, 2},
    {"llama_chat_apply_template", 4, 5},
    {"llama_chat_builtin_templates", 0, 1},
    {"llama_detokenize", 1, 2},
    {"llama_detokenize", 3, 4},
    {"llama_load_session_file", 2, 3},
    {"llama_load_session_file", 4, one_item},
    {"llama_log_get", 0, one_item},
    {"llama_log_get", 1, one_item},
    {"llama_model_desc", 1, 2},
    {"llama_model_load_from_splits", 0, 1},
    {"llama_model_meta_key_by_index", 2, 3},
    {"llama_model_meta_val_str", 2, 3},
    {"llama_model_meta_val_str_by_index", 2, 3},
    {"llama_sampler_init_dry", 5, 6},
    {"llama_sampler_init_grammar_lazy", 3, 4},
    {"llama_sampler_init_grammar_lazy", 5, 6},
    {"llama_sampler_init_grammar_lazy_patterns", 3, 4},
    {"llama_sampler_init_grammar_lazy_patterns", 5, 6},
    {"llama_sampler_init_logit_bias", 2, 1},
    {"llama_save_session_file", 2, 3},
    {"llama_set_adapter_cvec", 1, 2},
    {"llama_set_adapters_lora", 1, 2},
    {"llama_set_adapters_lora", 3, 2},
    {"llama_split_path", 0, 1},
    {"llama_split_prefix", 0, 1},
    {"llama_state_get_data", 1, 2},
    {"llama_state_load_file", 2, 3},
    {"llama_state_load_file", 4, one_item},
    {"llama_state_save_file", 2, 3},
    {"llama_state_seq_get_data", 1, 2},
    {"llama_state_seq_get_data_ext", 1, 2},
    {"llama_state_seq_load_file", 3, 4},
    {"llama_state_seq_load_file", 5, one_item},
    {"llama_state_seq_save_file", 3, 4},
    {"llama_state_seq_set_data", 1, 2},
    {"llama_state_seq_set_data_ext", 1, 2},
    {"llama_state_set_data", 1, 2},
    {"llama_token_to_piece", 2, 3},
    {"llama_tokenize", 1, 2},
    {"llama_tokenize", 3, 4},
    {"llama_vocab_get_suppress_tokens", 1, one_item},
};

// Where C itself takes NULL in the place of the buffer, whatever the length says.
static constexpr bound may_be_null[] = {
    {"llama_set_adapter_cvec", 1, 2},     // clears the vector
    {"llama_state_seq_load_file", 3, 4},  // only counts the tokens
};

constexpr bool has_bounds(const function &what) {
    for (const bound &pair : bounds) {
        if (compare(pair.function, what.name) == 0) return true;
    }
    return false;
}

constexpr bool is_bounded(const function &what, unsigned position) {
    for (const bound &pair : bounds) {
        if (pair.pointer == static_cast<int>(position) && compare(pair.function, what.name) == 0) return true;
    }
    return false;
}

constexpr bool null_is_good(const bound &pair) {
    for (const bound &free : may_be_null) {
        if (free.pointer == pair.pointer && compare(free.function, pair.function) == 0) return true;
    }
    return false;
}

static bool refuse_size(const call &c, const parameter &row, size_t items, size_t has) {
    const std::string wanted = std::to_string(items) + (items == 1 ? " item" : " items");
    if (has == null_size) return refuse_value(c, row, "is NULL, where C reads or writes " + wanted);
    return refuse_value(c, row,
                        "holds " + std::to_string(has / row.type.size) + ", where C may read or write " + wanted);
}

static bool check_bound(const call &c, const bound &pair, bool null_good) {
    const parameter &row = c.parameters()[pair.pointer];
    const long long count = pair.count == one_item ? 1 : c.numbers[pair.count];
    const size_t has = c.sizes[pair.pointer];
    if (count <= 0 || has == unknown_size || (has == null_size && null_good)) return true;
    const size_t items = static_cast<size_t>(count);
    return (has != null_size && items <= has / row.type.size) || refuse_size(c, row, items, has);
}

template <unsigned Function>
static inline bool check_bounds(const call &c) {
    constexpr const function &what = llamacffi_functions[Function];
    if constexpr (has_bounds(what)) {
        constexpr size_t first = [] {
            size_t i = 0;
            while (compare(bounds[i].function, llamacffi_functions[Function].name) != 0) ++i;
            return i;
        }();
        for (size_t i = first; i < std::size(bounds) && compare(bounds[i].function, what.name) == 0; ++i) {
            if (!check_bound(c, bounds[i], null_is_good(bounds[i]))) return false;
        }
    }
    return true;
}

constexpr bool notes_numbers(const function &what) {
    return has_bounds(what) || compare(what.name, "llama_batch_init") == 0;
}

// Remember an integer argument of a function with bounds.
template <unsigned Function, typename T>
static inline T noted(call &c, const parameter &row, T value) {
    if constexpr (notes_numbers(llamacffi_functions[Function])) {
        const bool huge = sizeof(T) == 8 && !std::is_signed_v<T> && static_cast<unsigned long long>(value) >> 63;
        c.numbers[position_of(c, row)] = huge ? std::numeric_limits<long long>::max() : static_cast<long long>(value);
    }
    return value;
}

}  // namespace llamacffi
