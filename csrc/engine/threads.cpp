// See threads.h.
#include "threads.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml-rpc.h"

#include "llama-context.h"  // private: which backends a context computes with

#include "cpus.h"

#ifdef LLAMACFFI_OWN_WAITS
// In waits.c: make a pool, whose workers do not exist any more, one of a single thread.
extern "C" void llamacffi_forget_workers(struct ggml_threadpool *pool);
#else
static void llamacffi_forget_workers(struct ggml_threadpool *) {}  // libgomp's
#endif

namespace llamacffi {

namespace {

struct context_threads {
    int most;                                // no more than these, unless the user attaches a pool
    int wanted, wanted_batch;                // what the user asked for
    bool attached = false;                   // the user's pools are in use
    context_pools pools{};                   // its own
    int n_threads = 1, n_threads_batch = 1;  // the sizes of these
};

// Of the map; what it holds belongs to whoever is inside the context. Nothing of llama.cpp is called while it is held:
// that may log, and so wait for another lock.
std::mutex threads_mutex;
std::unordered_map<const llama_context *, context_threads> threads_of;

// While one lives, what llama.cpp logs to say that it was called is kept back.
struct unasked_calls {
    unasked_calls() { unasked = true; }
    ~unasked_calls() { unasked = false; }
};

context_threads *find_threads(const llama_context *ctx) {
    const std::lock_guard<std::mutex> lock(threads_mutex);
    auto found = threads_of.find(ctx);
    return found == threads_of.end() ? nullptr : &found->second;
}

// The CPU backend keeps a pointer to the pool that it last computed with, and pauses that pool when it gets
// another one: make it let go while the pool is alive.
void let_go(llama_context *ctx) {
    ggml_backend_sched_t scheduler = ctx->get_sched();
    for (int i = 0; i < ggml_backend_sched_get_n_backends(scheduler); ++i) {
        ggml_backend_t backend = ggml_backend_sched_get_backend(scheduler, i);
        if (ggml_backend_is_cpu(backend)) ggml_backend_cpu_set_threadpool(backend, nullptr);
    }
}

ggml_threadpool *new_pool(int n_threads) {
    ggml_threadpool_params params = ggml_threadpool_params_default(n_threads);
    return ggml_threadpool_new(&params);
}

void end_pools(context_threads &own) {
    free_pools(own.pools);
    own.pools = {};
    own.n_threads = own.n_threads_batch = 1;
}

void drop_pools(llama_context *ctx, context_threads &own) {
    if (!own.pools.pool) return;
    const unasked_calls quiet;
    llama_detach_threadpool(ctx);
    let_go(ctx);
    end_pools(own);
}

void apply_wanted(llama_context *ctx, const context_threads &own) {
    const int most = own.attached ? GGML_MAX_N_THREADS : own.most;
    llama_set_n_threads(ctx, limited(own.wanted, most), limited(own.wanted_batch, most));
}

// From here on the user's pools are used, or not any more; the context's own are gone either way.
void use_user_pool(llama_context *ctx, bool attached) {
    context_threads *own = find_threads(ctx);
    if (!own) return;
    end_pools(*own);
    own->attached = attached;
    const unasked_calls quiet;
    apply_wanted(ctx, *own);
}

}  // namespace

thread_local bool unasked = false;

int limited(int wanted, int most) { return std::min(wanted > 0 ? wanted : GGML_DEFAULT_N_THREADS, most); }

void add_threads(const llama_context *ctx, int wanted, int wanted_batch, int most) {
    const std::lock_guard<std::mutex> lock(threads_mutex);
    threads_of[ctx] = context_threads{most, wanted, wanted_batch};
}

void prepare_threads(llama_context *ctx) {
    context_threads *own = find_threads(ctx);
    if (!own || own->attached) return;
    const int n_threads = llama_n_threads(ctx), n_threads_batch = llama_n_threads_batch(ctx);
    if (n_threads == own->n_threads && n_threads_batch == own->n_threads_batch) return;
    drop_pools(ctx, *own);
    if (n_threads == 1 && n_threads_batch == 1) return;
    // With one pool of the larger size each token would wake, and keep polling, threads that it does not use.
    own->pools.pool = new_pool(n_threads);
    if (n_threads_batch != n_threads) own->pools.pool_batch = new_pool(n_threads_batch);
    own->n_threads = n_threads;
    own->n_threads_batch = n_threads_batch;
    const unasked_calls quiet;
    llama_attach_threadpool(ctx, own->pools.pool, own->pools.pool_batch);
}

context_pools take_pools(const llama_context *ctx) {
    const std::lock_guard<std::mutex> lock(threads_mutex);
    auto found = threads_of.find(ctx);
    if (found == threads_of.end()) return {};
    const context_pools pools = found->second.pools;
    threads_of.erase(found);
    return pools;
}

void free_pools(const context_pools &pools) {
    for (ggml_threadpool *pool : {pools.pool, pools.pool_batch}) {
        if (pool) ggml_threadpool_free(pool);
    }
}

void set_n_threads(call *, llama_context *ctx, int32_t n_threads, int32_t n_threads_batch) {
    context_threads *own = find_threads(ctx);
    if (!own) return llama_set_n_threads(ctx, n_threads, n_threads_batch);
    own->wanted = n_threads;
    own->wanted_batch = n_threads_batch;
    apply_wanted(ctx, *own);
    if (llama_n_threads(ctx) != own->n_threads || llama_n_threads_batch(ctx) != own->n_threads_batch)
        drop_pools(ctx, *own);
}

void attach_user_pool(llama_context *ctx, ggml_threadpool_t pool, ggml_threadpool_t pool_batch) {
    let_go(ctx);
    llama_attach_threadpool(ctx, pool, pool_batch);
    use_user_pool(ctx, true);
}

void detach_user_pool(llama_context *ctx) {
    llama_detach_threadpool(ctx);
    let_go(ctx);
    use_user_pool(ctx, false);
}

void lock_threads() { threads_mutex.lock(); }

void unlock_threads() { threads_mutex.unlock(); }

// A pool loses its workers before anything else is done with it: one of them may have held its lock.
void forget_threads() {
    for (auto &[ctx, own] : threads_of) {
        for (ggml_threadpool *pool : {own.pools.pool, own.pools.pool_batch}) {
            if (pool) llamacffi_forget_workers(pool);
        }
        drop_pools(const_cast<llama_context *>(ctx), own);
    }
}

void forget_user_pool(llama_context *ctx, ggml_threadpool_t pool) {
    llamacffi_forget_workers(pool);
    detach_user_pool(ctx);
}

namespace {

std::atomic<bool> has_server{false};

}  // namespace

bool supports_gpu_offload(call *) {
    return has_server || ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) ||
           ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_IGPU);
}

ggml_backend_reg_t rpc_add_server(call *, const char *endpoint) {
    ggml_backend_reg_t server = ggml_backend_rpc_add_server(endpoint);
    if (server && ggml_backend_reg_dev_count(server)) has_server = true;
    return server;
}

}  // namespace llamacffi
