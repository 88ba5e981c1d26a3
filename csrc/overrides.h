// The C functions that the border calls in its own way: macros at the end route their wrappers to these.
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>

#include "callbacks.h"
#include "engine/cpus.h"
#include "engine/threads.h"
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

// ---------------------------------------------------------------- models outlive their contexts

static std::mutex models_mutex;
static std::unordered_map<llama_model *, size_t> contexts_of;  // how many contexts a model has
static std::unordered_set<llama_model *> models_to_free;       // freed by the caller, and in use by a context

static void free_model(llama_model *model) {
    {
        const std::lock_guard<std::mutex> lock(models_mutex);
        if (contexts_of.count(model)) {
            models_to_free.insert(model);
            return;
        }
    }
    llama_model_free(model);
}

static void add_context(llama_model *model) {
    const std::lock_guard<std::mutex> lock(models_mutex);
    ++contexts_of[model];
}

// A context is gone: with the last one of a freed model goes the model.
static void remove_context(llama_model *model) {
    {
        const std::lock_guard<std::mutex> lock(models_mutex);
        auto found = contexts_of.find(model);
        if (found == contexts_of.end() || --found->second) return;
        contexts_of.erase(found);
        if (!models_to_free.erase(model)) return;
    }
    llama_model_free(model);
}

static void forget_adapters(const llama_context *ctx) {
    const std::lock_guard<std::mutex> lock(adapters_mutex);
    applied_adapters.erase(std::remove_if(applied_adapters.begin(), applied_adapters.end(),
                                          [&](const applied_adapter &one) { return one.context == ctx; }),
                           applied_adapters.end());
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
    llama_model *model = ctx ? const_cast<llama_model *>(llama_get_model(ctx)) : nullptr;
    llama_free(ctx);
    remove_threads(ctx);
    detach([&](const attachment &a) { return a.context == ctx; });
    remove_context(model);
    forget_adapters(ctx);
    const std::lock_guard<std::mutex> lock(abort_mutex);
    auto found = abort_states.find(ctx);
    if (found == abort_states.end()) return;
    delete found->second;
    abort_states.erase(found);
}

// What a cache can be stored in: types that exist and that the CPU can write.
static bool is_cache_type(ggml_type type) {
    if (type < 0 || type >= GGML_TYPE_COUNT || ggml_get_type_traits(type)->blck_size <= 0) return false;
    return type == GGML_TYPE_F32 || ggml_get_type_traits_cpu(type)->from_float;
}

static llama_context *init_from_model(llama_model *model, llama_context_params params) {
    if (!is_cache_type(params.type_k) || !is_cache_type(params.type_v))
        throw std::invalid_argument("type_k or type_v is no ggml_type that a cache can have");
    if (params.n_samplers && (!params.samplers || params.n_samplers > llama_max_parallel_sequences()))
        throw std::invalid_argument("samplers must hold n_samplers items");
    const int most = most_threads(), wanted = params.n_threads, wanted_batch = params.n_threads_batch;
    params.n_threads = limited(wanted, most);
    params.n_threads_batch = limited(wanted_batch, most);
    auto state = std::make_unique<abort_state>(abort_state{params.abort_callback, params.abort_callback_data});
    params.abort_callback = abort_hook;
    params.abort_callback_data = state.get();
    llama_context *ctx = llama_init_from_model(model, params);
    if (!ctx) return nullptr;
    add_context(model);
    add_threads(ctx, wanted, wanted_batch, most);
    for (size_t i = 0; i < params.n_samplers; ++i) attach(ctx, params.samplers[i].seq_id, params.samplers[i].sampler);
    {
        const std::lock_guard<std::mutex> lock(abort_mutex);
        abort_states[ctx] = state.release();
    }
    if (!current->pending) return ctx;
    free_context(ctx);
    return nullptr;
}

// ---------------------------------------------------------------- what contexts use without owning it

static void attach_threadpool(llama_context *ctx, ggml_threadpool_t pool, ggml_threadpool_t pool_batch) {
    attach_user_pool(ctx, pool, pool_batch);
    attach(ctx, -1, pool);
    attach(ctx, -2, pool_batch);
}

static void detach_threadpool(llama_context *ctx) {
    detach_user_pool(ctx);
    attach(ctx, -1, nullptr);
    attach(ctx, -2, nullptr);
}

static bool set_sampler(llama_context *ctx, llama_seq_id sequence, llama_sampler *sampler) {
    if (sequence < 0) throw std::invalid_argument("seq_id must not be negative");
    const bool done = llama_set_sampler(ctx, sequence, sampler);
    attach(ctx, sequence, sampler);
    return done;
}

static int32_t set_adapters(llama_context *ctx, llama_adapter_lora **adapters, size_t count, float *scales) {
    const int32_t status = llama_set_adapters_lora(ctx, adapters, count, scales);
    if (status != 0) return status;
    forget_adapters(ctx);
    const std::lock_guard<std::mutex> lock(adapters_mutex);
    for (size_t i = 0; i < count; ++i) applied_adapters.push_back({ctx, adapters[i], scales[i]});
    return status;
}

// The adapters of `ctx` without `freed`.
static std::vector<applied_adapter> other_adapters(const void *ctx, const llama_adapter_lora *freed) {
    const std::lock_guard<std::mutex> lock(adapters_mutex);
    std::vector<applied_adapter> others;
    for (const applied_adapter &one : applied_adapters) {
        if (one.context == ctx && one.adapter != freed) others.push_back(one);
    }
    return others;
}

static void take_out(llama_context *ctx, const llama_adapter_lora *freed) {
    std::vector<llama_adapter_lora *> adapters;
    std::vector<float> scales;
    for (const applied_adapter &one : other_adapters(ctx, freed)) {
        adapters.push_back(one.adapter);
        scales.push_back(one.scale);
    }
    set_adapters(ctx, adapters.data(), adapters.size(), scales.data());
}

static void adapter_free(llama_adapter_lora *adapter) {
    std::vector<const void *> contexts;
    {
        const std::lock_guard<std::mutex> lock(adapters_mutex);
        for (const applied_adapter &one : applied_adapters) {
            if (one.adapter == adapter) contexts.push_back(one.context);
        }
    }
    for (const void *ctx : contexts) take_out(static_cast<llama_context *>(const_cast<void *>(ctx)), adapter);
    if (adapter) llama_adapter_lora_free(adapter);
}

static ggml_threadpool *threadpool_new(ggml_threadpool_params *params) {
    if (!params || params->n_threads < 1 || params->n_threads > GGML_MAX_N_THREADS)
        throw std::invalid_argument("params->n_threads must be from 1 to GGML_MAX_N_THREADS");
    return ggml_threadpool_new(params);
}

// ---------------------------------------------------------------- what C takes for granted

// The old names have no length; the buffer that came does.
static size_t copy_state_data(llama_context *ctx, uint8_t *dst) {
    if (!dst || current->sizes[1] < llama_state_get_size(ctx))
        throw std::invalid_argument("dst is shorter than llama_state_get_size(ctx)");
    return llama_copy_state_data(ctx, dst);
}

// A state begins with a text and its length; upstream makes room for that before it looks whether it is there.
static bool starts_with_text(const uint8_t *src, size_t size) {
    uint32_t length = 0;
    if (size < sizeof length) return false;
    std::memcpy(&length, src, sizeof length);
    if (length <= size - sizeof length) return true;
    log_sink(GGML_LOG_LEVEL_ERROR, "llama_state_set_data: the state is damaged: it is shorter than its first text\n",
             nullptr);
    return false;
}

static size_t state_set_data(llama_context *ctx, const uint8_t *src, size_t size) {
    return !src || starts_with_text(src, size) ? llama_state_set_data(ctx, src, size) : 0;
}

// A session file: magic, version, count and tokens, and then a state. A file that is no such thing C refuses itself.
static bool is_whole_session(const char *path) {
    std::ifstream file(path, std::ios::binary);
    uint32_t header[3] = {}, length = 0;
    file.read(reinterpret_cast<char *>(header), sizeof header);
    file.seekg(static_cast<std::streamoff>(header[2]) * static_cast<std::streamoff>(sizeof(llama_token)),
               std::ios::cur);
    file.read(reinterpret_cast<char *>(&length), sizeof length);
    if (!file) return true;
    const std::streamoff here = file.tellg();
    file.seekg(0, std::ios::end);
    if (static_cast<std::streamoff>(length) <= file.tellg() - here) return true;
    log_sink(GGML_LOG_LEVEL_ERROR, "llama_state_load_file: the state in the file is shorter than its first text\n",
             nullptr);
    return false;
}

static bool state_load_file(llama_context *ctx, const char *path, llama_token *tokens, size_t capacity, size_t *count) {
    return is_whole_session(path) && llama_state_load_file(ctx, path, tokens, capacity, count);
}

static const char *gguf_array_text(const gguf_context *gguf, int64_t key, size_t index) {
    if (gguf_get_arr_type(gguf, key) != GGUF_TYPE_STRING || index >= gguf_get_arr_n(gguf, key))
        throw std::out_of_range("the key holds no text at that index");
    return gguf_get_arr_str(gguf, key, index);
}

static void gguf_set_array(gguf_context *gguf, const char *key, gguf_type type, const void *data, size_t count) {
    static constexpr size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    const size_t has = current->sizes[3], item = sizes[type];
    if (!item || !data) throw std::invalid_argument("type must be a number type, and data not NULL");
    if (has != unknown_size && count > has / item) throw std::invalid_argument("data holds fewer than n items");
    gguf_set_arr_data(gguf, key, type, data, count);
}

static void gguf_meta_data(const gguf_context *gguf, void *data) {
    if (!data || current->sizes[1] < gguf_get_meta_size(gguf))
        throw std::invalid_argument("data is shorter than gguf_get_meta_size(ctx)");
    gguf_get_meta_data(gguf, data);
}

static size_t set_state_data(llama_context *ctx, const uint8_t *src) {
    if (!src) throw std::invalid_argument("src must not be NULL");
    return state_set_data(ctx, src, current->sizes[1]);
}

static void opt_init(llama_context *ctx, llama_model *model, llama_opt_params params) {
    if (!params.param_filter || !params.get_opt_pars)
        throw std::invalid_argument("param_filter and get_opt_pars must be set");
    llama_opt_init(ctx, model, params);
}

// A decoder has no encoder to run; upstream would look for one where its cache is.
static void require_encoder(const llama_context *ctx) {
    if (llama_get_memory(ctx) && !llama_model_has_encoder(llama_get_model(ctx)))
        throw std::invalid_argument("the model of ctx has no encoder: use llama_decode()");
}

static int32_t decode(llama_context *ctx, llama_batch batch) {
    prepare_threads(ctx);
    return llama_decode(ctx, batch);
}

static int32_t encode(llama_context *ctx, llama_batch batch) {
    require_encoder(ctx);
    prepare_threads(ctx);
    return llama_encode(ctx, batch);
}

static int32_t process(llama_context *ctx, llama_process_type type, llama_batch_ext *batch) {
    if (type != LLAMA_PROCESS_TYPE_ENCODE && type != LLAMA_PROCESS_TYPE_DECODE)
        throw std::invalid_argument("type is no llama_process_type");
    if (type == LLAMA_PROCESS_TYPE_ENCODE) require_encoder(ctx);
    prepare_threads(ctx);
    return llama_process(ctx, type, batch);
}

static llama_sampler *sampler_init(llama_sampler_i *iface, llama_sampler_context_t ctx) {
    if (!iface->apply) throw std::invalid_argument("iface->apply must be set");
    return llama_sampler_init(iface, ctx);
}

static bool is_control(const llama_vocab *vocab, llama_token token) {
    if (token < 0 || token >= llama_vocab_n_tokens(vocab)) throw std::out_of_range("token is not in the vocabulary");
    return llama_vocab_is_control(vocab, token);
}

static void memory_seq_div(llama_memory_t memory, llama_seq_id sequence, llama_pos p0, llama_pos p1, int d) {
    if (d < 1) throw std::invalid_argument("d must be at least 1");
    llama_memory_seq_div(memory, sequence, p0, p1, d);
}

static void sampler_apply(llama_sampler *sampler, llama_token_data_array *candidates) {
    if (candidates->size && !candidates->data) throw std::invalid_argument("cur_p->data is NULL");
    if (candidates->selected >= static_cast<int64_t>(candidates->size) && candidates->selected > 0)
        throw std::invalid_argument("cur_p->selected is not below cur_p->size");
    llama_sampler_apply(sampler, candidates);
}

// ---------------------------------------------------------------- grammars

// The parser of grammars and std::regex both recurse, the one by parenthesis, the other by character.
constexpr int deepest_group = 1000;
constexpr size_t longest_pattern = 4096;

static void check_grammar(const char *text) {
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

static void check_patterns(const char **patterns, size_t count) {
    size_t length = 0;
    for (size_t i = 0; i < count; ++i) length += std::strlen(patterns[i]);
    if (length > longest_pattern) throw std::invalid_argument("the trigger patterns are longer than 4096 characters");
}

static llama_sampler *init_grammar(const llama_vocab *vocab, const char *grammar, const char *root) {
    check_grammar(grammar);
    return llama_sampler_init_grammar(vocab, grammar, root);
}

static llama_sampler *init_grammar_lazy(const llama_vocab *vocab, const char *grammar, const char *root,
                                        const char **words, size_t n_words, const llama_token *tokens,
                                        size_t n_tokens) {
    check_grammar(grammar);
    check_patterns(words, n_words);
    return llama_sampler_init_grammar_lazy(vocab, grammar, root, words, n_words, tokens, n_tokens);
}

static llama_sampler *init_grammar_lazy_patterns(const llama_vocab *vocab, const char *grammar, const char *root,
                                                 const char **patterns, size_t n_patterns, const llama_token *tokens,
                                                 size_t n_tokens) {
    check_grammar(grammar);
    check_patterns(patterns, n_patterns);
    return llama_sampler_init_grammar_lazy_patterns(vocab, grammar, root, patterns, n_patterns, tokens, n_tokens);
}

// ---------------------------------------------------------------- quantizing

static void check_quantize(const char *input, const char *output, const llama_model_quantize_params &params) {
    const auto good = [](ggml_type type) { return type >= 0 && type <= GGML_TYPE_COUNT; };  // COUNT stands for unset
    if (!*input || !*output) throw std::invalid_argument("fname_inp and fname_out must not be empty");
    if (!good(params.output_tensor_type) || !good(params.token_embedding_type))
        throw std::invalid_argument("output_tensor_type or token_embedding_type is no ggml_type");
    std::error_code ignored;
    if (std::filesystem::equivalent(input, output, ignored))
        throw std::invalid_argument("fname_out is the file that is read: it would be destroyed");
}

// Written beside its name and renamed when it is whole, so that a failure leaves what was there. A split output has
// names of its own.
static uint32_t quantize(const char *input, const char *output, const llama_model_quantize_params *params) {
    check_quantize(input, output, *params);
    if (params->keep_split || params->dry_run) return llama_model_quantize(input, output, params);
    const std::string partial = std::string(output) + ".part";
    std::error_code error;
    try {
        const uint32_t result = llama_model_quantize(input, partial.c_str(), params);
        if (result == 0) {
            std::filesystem::rename(partial, output);
            return 0;
        }
        std::filesystem::remove(partial, error);
        return result;
    } catch (...) {
        std::filesystem::remove(partial, error);
        throw;
    }
}

// ---------------------------------------------------------------- batches

template <typename T>
static void zero(T *items, size_t count) {
    if (items) std::memset(items, 0, count * sizeof(T));
}

// Upstream leaves the arrays as malloc gave them, and allocates without looking at what malloc
// says: so ask first, in one piece.
static llama_batch batch_init(int32_t n_tokens, int32_t embd, int32_t n_seq_max) {
    if (n_tokens < 0 || embd < 0 || n_seq_max < 0) throw std::invalid_argument("sizes must not be negative");
    const size_t item = std::max<size_t>(embd, 1) * sizeof(float) + (size_t(n_seq_max) + 4) * sizeof(int32_t);
    ::operator delete(::operator new(item *(size_t(n_tokens) + 1)));
    llama_batch batch = llama_batch_init(n_tokens, embd, n_seq_max);
    zero(batch.token, n_tokens);
    zero(batch.embd, size_t(n_tokens) * embd);
    zero(batch.pos, n_tokens);
    zero(batch.n_seq_id, n_tokens);
    zero(batch.logits, n_tokens);
    for (int32_t i = 0; i < n_tokens; ++i) zero(batch.seq_id[i], n_seq_max);
    return batch;
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

static llama_model *init_from_user(gguf_context *metadata, llama_model_set_tensor_data_t set_data, void *user_data,
                                   llama_model_params params) {
    if (!set_data) throw std::invalid_argument("set_tensor_data must be set");
    return load_model(
        params, [&](llama_model_params own) { return llama_model_init_from_user(metadata, set_data, user_data, own); });
}

// ---------------------------------------------------------------- fork

// No other thread may hold one of these while the process is copied: it would not exist in the child to unlock it.
static std::mutex *const all_mutexes[] = {&models_mutex, &abort_mutex, &adapters_mutex, &attachments_mutex, &log_mutex};

static void lock_all() {
    for (std::mutex *one : all_mutexes) one->lock();
    lock_threads();
}

static void unlock_all() {
    unlock_threads();
    for (std::mutex *one : all_mutexes) one->unlock();
}

// In the child, with Python in order again: the other threads are gone, and with them what they were inside of and the
// workers of the thread pools.
static void after_fork_in_child() {
    static constexpr function fork{{kind::VOID, 0, 0, false, ""}, "os.fork", "", nullptr, 0, 0, false, false};
    forget_users();
    forget_threads();
    std::vector<attachment> all;
    all.swap(attachments);
    for (const attachment &one : all) {
        if (one.slot < 0)
            forget_user_pool(static_cast<llama_context *>(const_cast<void *>(one.context)),
                             static_cast<ggml_threadpool *>(const_cast<void *>(one.address)));
        else
            attachments.push_back(one);
    }
    handles.for_each([](handle &one) {
        if (one.kind != handle_kind("ggml_threadpool")) return;
        one.is = state::FREED;
        one.freed_by = &fork;
    });
}

static void take_over() {
    llama_log_set(log_sink, nullptr);
    ggml_set_abort_callback(throw_assertion);
#ifndef _WIN32
    pthread_atfork(lock_all, unlock_all, unlock_all);
#endif
}

}  // namespace llamacffi

#define llama_log_get llamacffi::log_get
#define llama_log_set llamacffi::log_set
#define ggml_log_get llamacffi::log_get
#define ggml_log_set llamacffi::log_set
#define ggml_set_abort_callback llamacffi::set_abort_message_callback
#define llama_set_abort_callback llamacffi::set_abort_callback
#define llama_copy_state_data llamacffi::copy_state_data
#define llama_set_state_data llamacffi::set_state_data
#define llama_attach_threadpool llamacffi::attach_threadpool
#define llama_detach_threadpool llamacffi::detach_threadpool
#define llama_set_sampler llamacffi::set_sampler
#define ggml_threadpool_new llamacffi::threadpool_new
#define llama_opt_init llamacffi::opt_init
#define llama_state_set_data llamacffi::state_set_data
#define llama_state_load_file llamacffi::state_load_file
#define llama_load_session_file llamacffi::state_load_file
#define llama_set_adapters_lora llamacffi::set_adapters
#define llama_adapter_lora_free llamacffi::adapter_free
#define gguf_get_arr_str llamacffi::gguf_array_text
#define gguf_set_arr_data llamacffi::gguf_set_array
#define gguf_get_meta_data llamacffi::gguf_meta_data
#define llama_set_n_threads llamacffi::set_n_threads
#define llama_supports_gpu_offload llamacffi::supports_gpu_offload
#define ggml_backend_rpc_add_server llamacffi::rpc_add_server
#define llama_decode llamacffi::decode
#define llama_encode llamacffi::encode
#define llama_process llamacffi::process
#define llama_sampler_apply llamacffi::sampler_apply
#define llama_sampler_init llamacffi::sampler_init
#define llama_sampler_name llamacffi::sampler_name
#define llama_vocab_is_control llamacffi::is_control
#define llama_token_is_control llamacffi::is_control
#define llama_memory_seq_div llamacffi::memory_seq_div
#define llama_sampler_init_grammar llamacffi::init_grammar
#define llama_sampler_init_grammar_lazy llamacffi::init_grammar_lazy
#define llama_sampler_init_grammar_lazy_patterns llamacffi::init_grammar_lazy_patterns
#define llama_model_quantize llamacffi::quantize
#define llama_model_init_from_user llamacffi::init_from_user
#define llama_batch_init llamacffi::batch_init
#define llama_free llamacffi::free_context
#define llama_model_free llamacffi::free_model
#define llama_free_model llamacffi::free_model
#define llama_init_from_model llamacffi::init_from_model
#define llama_new_context_with_model llamacffi::init_from_model
#define llama_model_load_from_file llamacffi::load_from_file
#define llama_load_model_from_file llamacffi::load_from_file
#define llama_model_load_from_file_ptr llamacffi::load_from_file_ptr
#define llama_model_load_from_splits llamacffi::load_from_splits
