// The C functions that the border calls in its own way: macros at the end route their wrappers to these.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <unordered_map>

#include "callbacks.h"
#include "guard.h"
#include "logs.h"

namespace llamacffi {

// ---------------------------------------------------------------- logs and assertions

static void log_get(ggml_log_callback *callback, void **user_data) { get_log_target(callback, user_data); }
static void log_set(ggml_log_callback callback, void *user_data) { set_log_target(callback, user_data); }

static ggml_abort_callback_t set_abort_message_callback(ggml_abort_callback_t callback) {
    std::swap(user_abort_callback, callback);
    return callback;
}

static void take_over() {
    llama_log_set(log_sink, nullptr);
    ggml_set_abort_callback(throw_assertion);
}

// ---------------------------------------------------------------- contexts: Ctrl-C and exceptions end a decode

struct abort_state {
    ggml_abort_callback callback;
    void *user_data;
};

static std::mutex abort_mutex;
static std::unordered_map<const llama_context *, abort_state *> abort_states;

static bool abort_hook(void *data) {
    const abort_state &state = *static_cast<abort_state *>(data);
    return (state.callback && state.callback(state.user_data)) || must_stop();
}

static void set_abort_callback(llama_context *ctx, ggml_abort_callback callback, void *user_data) {
    const std::lock_guard<std::mutex> lock(abort_mutex);
    abort_state *&state = abort_states[ctx];
    if (!state) state = new abort_state{};
    *state = {callback, user_data};
    llama_set_abort_callback(ctx, abort_hook, state);
}

static void free_context(llama_context *ctx) {
    llama_free(ctx);
    broken_contexts.forget(ctx);
    const std::lock_guard<std::mutex> lock(abort_mutex);
    auto found = abort_states.find(ctx);
    if (found == abort_states.end()) return;
    delete found->second;
    abort_states.erase(found);
}

static llama_context *init_from_model(llama_model *model, llama_context_params params) {
    auto state = std::make_unique<abort_state>(abort_state{params.abort_callback, params.abort_callback_data});
    params.abort_callback = abort_hook;
    params.abort_callback_data = state.get();
    llama_context *ctx = llama_init_from_model(model, params);
    if (!ctx) return nullptr;
    {
        const std::lock_guard<std::mutex> lock(abort_mutex);
        abort_states[ctx] = state.release();
    }
    if (!current->pending) return ctx;
    free_context(ctx);
    return nullptr;
}

// ---------------------------------------------------------------- batches

// Upstream allocates without looking at what malloc says, so ask first, in one piece.
static llama_batch batch_init(int32_t n_tokens, int32_t embd, int32_t n_seq_max) {
    if (n_tokens < 0 || embd < 0 || n_seq_max < 0) throw std::invalid_argument("sizes must not be negative");
    const size_t item = std::max<size_t>(embd, 1) * sizeof(float) + (size_t(n_seq_max) + 4) * sizeof(int32_t);
    ::operator delete(::operator new(item *(size_t(n_tokens) + 1)));
    return llama_batch_init(n_tokens, embd, n_seq_max);
}

// ---------------------------------------------------------------- sampler chains

static void sampler_chain_add(llama_sampler *chain, llama_sampler *sampler) {
    llama_sampler_chain_add(chain, sampler);
    chain_add(chain, sampler);
}

static llama_sampler *sampler_chain_remove(llama_sampler *chain, int32_t index) {
    llama_sampler *sampler = llama_sampler_chain_remove(chain, index);
    chain_remove(chain, sampler);
    return sampler;
}

// ---------------------------------------------------------------- models: Ctrl-C and exceptions end a load

struct load_progress {
    llama_progress_callback callback;
    void *user_data;
    unsigned percent = 0;
};

// Upstream shows dots where nobody asks for the progress.
static void show_dots(load_progress &state, float progress) {
    const unsigned percent = static_cast<unsigned>(100 * progress);
    if (percent <= state.percent) return;
    state.percent = percent;
    log_sink(GGML_LOG_LEVEL_CONT, percent >= 100 ? ".\n" : ".", nullptr);
}

static bool progress_hook(float progress, void *data) {
    load_progress &state = *static_cast<load_progress *>(data);
    if (!state.callback) show_dots(state, progress);
    return (!state.callback || state.callback(progress, state.user_data)) && !must_stop();
}

template <typename Load>
static llama_model *load_model(llama_model_params params, Load load) {
    load_progress state{params.progress_callback, params.progress_callback_user_data};
    params.progress_callback = progress_hook;
    params.progress_callback_user_data = &state;
    llama_model *model = load(params);
    if (!model || !current->pending) return model;
    llama_model_free(model);
    return nullptr;
}

static llama_model *load_from_file(const char *path, llama_model_params params) {
    return load_model(params, [&](llama_model_params own) { return llama_model_load_from_file(path, own); });
}

static llama_model *load_from_file_ptr(FILE *file, llama_model_params params) {
    return load_model(params, [&](llama_model_params own) { return llama_model_load_from_file_ptr(file, own); });
}

static llama_model *load_from_splits(const char **paths, size_t count, llama_model_params params) {
    return load_model(params, [&](llama_model_params own) { return llama_model_load_from_splits(paths, count, own); });
}

}  // namespace llamacffi

#define llama_log_get llamacffi::log_get
#define llama_log_set llamacffi::log_set
#define ggml_log_get llamacffi::log_get
#define ggml_log_set llamacffi::log_set
#define ggml_set_abort_callback llamacffi::set_abort_message_callback
#define llama_set_abort_callback llamacffi::set_abort_callback
#define llama_batch_init llamacffi::batch_init
#define llama_sampler_chain_add llamacffi::sampler_chain_add
#define llama_sampler_chain_remove llamacffi::sampler_chain_remove
#define llama_free llamacffi::free_context
#define llama_init_from_model llamacffi::init_from_model
#define llama_new_context_with_model llamacffi::init_from_model
#define llama_model_load_from_file llamacffi::load_from_file
#define llama_load_model_from_file llamacffi::load_from_file
#define llama_model_load_from_file_ptr llamacffi::load_from_file_ptr
#define llama_model_load_from_splits llamacffi::load_from_splits
