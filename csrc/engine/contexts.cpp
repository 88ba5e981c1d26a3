// See contexts.h.
#include "engine/contexts.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <unordered_map>

#include "checks/lengths.h"
#include "checks/ownership.h"
#include "core/callbacks.h"
#include "engine/cpus.h"
#include "engine/states.h"
#include "engine/threads.h"

namespace llamacffi {

std::mutex abort_mutex;  // of the map

namespace {

enum class computation : uint8_t { NONE, RUNS, CANCELLED };

std::atomic<uint64_t> computations{0};

struct abort_slot : callback_slot<ggml_abort_callback> {
    using callback_slot::callback_slot;
    std::atomic<computation> now{computation::NONE};
    std::atomic<uint64_t> last{++computations};
    // Of the thread that computes: how many nodes more it goes without looking, and when it looked.
    unsigned unlooked = 0, stride = 1;
    std::chrono::nanoseconds looked{};

    // A batch may be a thousand times as long as the one before, and so its nodes.
    void begin() {
        unlooked = 0;
        stride = 1;
        now = computation::RUNS;
    }
};

std::unordered_map<const llama_context *, std::unique_ptr<abort_slot>> abort_slots;

// Ctrl-C is looked for as often as some milliseconds allow, at the most after so many nodes.
constexpr unsigned most_unlooked = 64;
constexpr auto short_time = std::chrono::milliseconds(2);

bool must_stop_here(abort_slot &slot) {
    const std::chrono::nanoseconds time = coarse_time();
    slot.stride = time - slot.looked < short_time ? std::min(2 * slot.stride, most_unlooked) : 1;
    slot.looked = time;
    slot.unlooked = slot.stride;
    return must_stop();
}

bool user_aborts(const abort_slot &slot) {
    const auto user = slot.get();
    return user.function && user.function(user.data);
}

// Asked before each node of a graph.
bool abort_hook(void *data) {
    auto &slot = *static_cast<abort_slot *>(data);
    if ((slot.is_set() && user_aborts(slot)) || slot.now == computation::CANCELLED) return true;
    const bool looks = calls_that_failed.load(std::memory_order_relaxed) || !slot.unlooked || !--slot.unlooked;
    return looks && must_stop_here(slot);
}

// What a cache can be stored in: types that exist, and that the CPU can write and multiply with.
bool is_cache_type(ggml_type type) {
    if (type < 0 || type >= GGML_TYPE_COUNT || ggml_get_type_traits(type)->blck_size <= 0) return false;
    const ggml_type_traits_cpu &traits = *ggml_get_type_traits_cpu(type);
    return traits.vec_dot && (type == GGML_TYPE_F32 || traits.from_float);
}

// A decoder has no encoder to run; upstream would look for one where its cache is.
void require_encoder(const llama_context *ctx) {
    if (llama_get_memory(ctx) && !llama_model_has_encoder(llama_get_model(ctx)))
        throw std::invalid_argument("the model of ctx has no encoder: use llama_decode()");
}

template <typename T>
void zero(T *items, size_t count) {
    if (items) std::memset(items, 0, count * sizeof(T));
}

abort_slot *slot_of(const llama_context *ctx) {
    const std::lock_guard<std::mutex> lock(abort_mutex);
    auto found = abort_slots.find(ctx);
    return found == abort_slots.end() ? nullptr : found->second.get();
}

std::unique_ptr<abort_slot> take_slot(const llama_context *ctx) {
    const std::lock_guard<std::mutex> lock(abort_mutex);
    auto found = abort_slots.find(ctx);
    if (found == abort_slots.end()) return std::make_unique<abort_slot>();
    std::unique_ptr<abort_slot> slot = std::move(found->second);
    abort_slots.erase(found);
    return slot;
}

void note_computation(const llama_context *ctx) {
    if (abort_slot *slot = slot_of(ctx)) slot->last = ++computations;
}

}  // namespace

uint64_t last_computation(const llama_context *ctx) {
    const abort_slot *slot = slot_of(ctx);
    return slot ? slot->last.load() : 0;
}

computing::computing(llama_context *ctx) : ctx_(ctx) {
    prepare_threads(ctx);
    note_computation(ctx);
    if (abort_slot *slot = slot_of(ctx)) slot->begin();
}

computing::~computing() {
    if (abort_slot *slot = slot_of(ctx_)) slot->now = computation::NONE;
}

bool cancel(const llama_context *ctx) {
    const std::lock_guard<std::mutex> lock(abort_mutex);
    const auto found = abort_slots.find(ctx);
    computation expected = computation::RUNS;
    return found != abort_slots.end() &&
           (found->second->now.compare_exchange_strong(expected, computation::CANCELLED) ||
            expected == computation::CANCELLED);
}

// It may be called while the context computes: its hook asks the slot each time.
void set_abort_callback(call *c, llama_context *ctx, ggml_abort_callback callback, void *user_data) {
    if (abort_slot *slot = slot_of(ctx)) slot->set(c, 1, callback, user_data);
}

// What is known of the context is taken out of the tables first: right after C has freed it, another thread may get its
// address. What it uses stays attached, under another name, until it is gone.
void end_context(llama_context *ctx) {
    const std::unique_ptr<abort_slot> slot = take_slot(ctx);
    const context_pools pools = take_pools(ctx);
    forget_stored_states(ctx);
    rename_context(ctx, slot.get());
    llama_free(ctx);
    free_pools(pools);
    detach_all(slot.get());
}

void retire_context(llama_context *ctx) {
    for (const attachment &one : all_attachments()) {
        if (one.context == ctx && one.slot >= 0) llama_set_sampler(ctx, one.slot, nullptr);
        if (one.context == ctx && one.slot < 0) detach_user_pool(ctx);
    }
    detach_all(ctx);
}

llama_context *init_from_model(call *c, llama_model *model, llama_context_params params) {
    if (!is_cache_type(params.type_k) || !is_cache_type(params.type_v))
        throw std::invalid_argument("type_k or type_v is no ggml_type that a cache can have");
    if (params.n_samplers && (!params.samplers || params.n_samplers > llama_max_parallel_sequences()))
        throw std::invalid_argument("samplers must hold n_samplers items");
    const int most = most_threads(), wanted = params.n_threads, wanted_batch = params.n_threads_batch;
    params.n_threads = limited(wanted, most);
    params.n_threads_batch = limited(wanted_batch, most);
    auto slot = std::make_unique<abort_slot>(params.abort_callback, params.abort_callback_data);
    params.abort_callback = abort_hook;
    params.abort_callback_data = slot.get();
    llama_context *ctx = llama_init_from_model(model, params);
    if (!ctx) return nullptr;
    add_threads(ctx, wanted, wanted_batch, most);
    for (size_t i = 0; i < params.n_samplers; ++i) attach(ctx, params.samplers[i].seq_id, params.samplers[i].sampler);
    {
        const std::lock_guard<std::mutex> lock(abort_mutex);
        abort_slots[ctx] = std::move(slot);
    }
    if (!has_failed(c)) return ctx;
    end_context(ctx);
    return nullptr;
}

// ---------------------------------------------------------------- graphs

int32_t decode(call *, llama_context *ctx, llama_batch batch) {
    const computing here(ctx);
    return llama_decode(ctx, batch);
}

int32_t encode(call *, llama_context *ctx, llama_batch batch) {
    require_encoder(ctx);
    const computing here(ctx);
    return llama_encode(ctx, batch);
}

int32_t process(call *, llama_context *ctx, llama_process_type type, llama_batch_ext *batch) {
    if (type == LLAMA_PROCESS_TYPE_ENCODE) require_encoder(ctx);
    const computing here(ctx);
    return llama_process(ctx, type, batch);
}

// ---------------------------------------------------------------- what contexts use without owning it

void attach_threadpool(call *, llama_context *ctx, ggml_threadpool_t pool, ggml_threadpool_t pool_batch) {
    attach_user_pool(ctx, pool, pool_batch);
    attach(ctx, -1, pool);
    attach(ctx, -2, pool_batch);
}

void detach_threadpool(call *, llama_context *ctx) {
    detach_user_pool(ctx);
    attach(ctx, -1, nullptr);
    attach(ctx, -2, nullptr);
}

bool set_sampler(call *, llama_context *ctx, llama_seq_id sequence, llama_sampler *sampler) {
    if (sequence < 0) throw std::invalid_argument("seq_id must not be negative");
    const bool done = llama_set_sampler(ctx, sequence, sampler);
    attach(ctx, sequence, sampler);
    return done;
}

ggml_threadpool *threadpool_new(call *, ggml_threadpool_params *params) { return ggml_threadpool_new(params); }

// ---------------------------------------------------------------- what C takes for granted

namespace {

// C copies a datapoint's labels into as much room as its tokens have, and writes where a label says.
void require_tokens(const llama_context *ctx, ggml_opt_dataset_t dataset) {
    const ggml_tensor *data = ggml_opt_dataset_data(dataset), *labels = ggml_opt_dataset_labels(dataset);
    const bool good = labels && data->type == GGML_TYPE_I32 && labels->type == GGML_TYPE_I32 &&
                      data->ne[0] == labels->ne[0] && data->data && labels->data;
    if (!good) throw std::invalid_argument("dataset must have int32 tokens, and as many int32 labels, for a datapoint");
    const auto *first = static_cast<const llama_token *>(labels->data);
    const int32_t n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(ctx)));
    if (std::any_of(first, first + ggml_nelements(labels), [&](llama_token one) { return one < 0 || one >= n_vocab; }))
        throw std::invalid_argument("dataset has a label that is not in the vocabulary");
}

}  // namespace

void opt_epoch(call *, llama_context *ctx, ggml_opt_dataset_t dataset, ggml_opt_result_t result_train,
               ggml_opt_result_t result_eval, int64_t idata_split, ggml_opt_epoch_callback callback_train,
               ggml_opt_epoch_callback callback_eval) {
    require_tokens(ctx, dataset);
    note_computation(ctx);
    llama_opt_epoch(ctx, dataset, result_train, result_eval, idata_split, callback_train, callback_eval);
}

// Upstream leaves the arrays as malloc gave them, and allocates without looking at what malloc
// says: so ask first, in one piece.
llama_batch batch_init(call *, int32_t n_tokens, int32_t embd, int32_t n_seq_max) {
    if (n_tokens < 0 || embd < 0 || n_seq_max < 0) throw std::invalid_argument("sizes must not be negative");
    const extent item = larger(extent(embd), extent(1)) * extent(sizeof(float)) + extent(n_seq_max) * extent(4);
    const extent all = (item + extent(16)) * (extent(n_tokens) + extent(1));
    ::operator delete(::operator new(static_cast<size_t>(all.value())));
    llama_batch batch = llama_batch_init(n_tokens, embd, n_seq_max);
    zero(batch.token, n_tokens);
    zero(batch.embd, size_t(n_tokens) * embd);
    zero(batch.pos, n_tokens);
    zero(batch.n_seq_id, n_tokens);
    zero(batch.logits, n_tokens);
    for (int32_t i = 0; i < n_tokens; ++i) zero(batch.seq_id[i], n_seq_max);
    return batch;
}

}  // namespace llamacffi
