// What the formulas of bindgen/policy.toml ask of llama.cpp's objects: how many bytes, items or indexes they have.
//
// They are called inside of the guard, when the call has entered its objects: what they ask may throw.
#pragma once

#include <utility>

#include "checks/extent.h"
#include "core/call.h"

namespace llamacffi {

// Check what one formula says of a call, or throw.
void check_formula(const call &c, const formula_row &row);

// Most hold at first sight.
template <unsigned Row>
inline bool formula_holds(const call &c) {
    constexpr const formula_row &row = formula_rows[Row];
    if constexpr (row.kind == formula_kind::RANGE) {
        const long long number = c.numbers[row.position];
        return number >= row.least(c).value() && number <= row.most(c).value();
    }
    return false;
}

template <unsigned First, unsigned... At>
inline void check_formulas(const call &c, std::integer_sequence<unsigned, At...>) {
    ((formula_holds<First + At>(c) || (check_formula(c, formula_rows[First + At]), true)) && ...);
}

template <unsigned Function>
inline void check_formulas([[maybe_unused]] const call &c) {
#ifndef LLAMACFFI_UNCHECKED
    constexpr const function_row &function = function_rows[Function];
    if constexpr (function.n_formulas != 0)
        check_formulas<function_rows[Function].first_formula>(
            c, std::make_integer_sequence<unsigned, function_rows[Function].n_formulas>{});
#endif
}

extent larger(extent a, extent b);
extent block_items(extent type);                  // of a ggml_type
extent row_bytes(extent type, extent n_per_row);  // in whole blocks
extent array_item_bytes(extent type);             // of a gguf_type
extent meta_bytes(const gguf_context *gguf);
extent tensor_bytes(const gguf_context *gguf, const char *name);
extent array_length(const gguf_context *gguf, extent key);  // of an array of texts; of anything else 0
extent state_bytes(llama_context *ctx);
inline extent has_texts(const llama_vocab *vocab) { return extent(llama_vocab_type(vocab) != LLAMA_VOCAB_TYPE_NONE); }
inline extent vocabulary(const llama_vocab *vocab) { return extent(llama_vocab_n_tokens(vocab)); }
extent context_bytes(const llama_model *model, const llama_context_params &params);
extent arena_bytes(const ggml_init_params &params);
extent arena_room(const ggml_context *ctx);
extent graph_room(const ggml_context *ctx, extent size, extent gradients);
extent optimizer_bytes();
extent predictions(ggml_opt_result_t result);
extent dataset_items(ggml_opt_dataset_t dataset);
extent data_bytes(ggml_opt_dataset_t dataset);
extent label_bytes(ggml_opt_dataset_t dataset, extent data_bytes);  // beside that much data
extent any_batch(ggml_opt_context_t opt_ctx);
extent image_tokens_in(const mtmd_image_tokens *image);
extent embedding_floats(const llama_context *ctx, const mtmd_input_chunk *chunk);

}  // namespace llamacffi
