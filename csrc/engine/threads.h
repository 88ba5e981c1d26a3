// The threads that contexts compute with: how many, and a pool of them for each context.
//
// Where no pool is attached, llama.cpp starts and ends its threads for every graph. So a context gets a pool of its
// own when it first computes with more than one thread, and keeps it until it is freed, until llama_set_n_threads
// asks for another size, or until the user attaches one. No Python object is touched here: the GIL may be released.
#pragma once

#include "llama.h"

namespace llamacffi {

struct call;

// Whether this thread calls llama.cpp on its own account, not on the user's.
extern thread_local bool unasked;

// How many threads a context gets that asks for `wanted`, where there may be `most`; 0 asks for C's default.
int limited(int wanted, int most);

// Remember a new context, how many threads it asked for, and how many there may be.
void add_threads(const llama_context *ctx, int wanted, int wanted_batch, int most);

// Before `ctx` computes: give it its pools, unless it has them or the user has attached some.
void prepare_threads(llama_context *ctx);

// The pools of a context that is about to be freed, to be freed after it.
struct context_pools {
    ggml_threadpool *pool = nullptr;        // for one token
    ggml_threadpool *pool_batch = nullptr;  // for more; nullptr where both have one size
};

context_pools take_pools(const llama_context *ctx);
void free_pools(const context_pools &pools);

void set_n_threads(call *, llama_context *ctx, int32_t n_threads, int32_t n_threads_batch);
void attach_user_pool(llama_context *ctx, ggml_threadpool_t pool, ggml_threadpool_t pool_batch);
void detach_user_pool(llama_context *ctx);

// Around a fork, and in the child, where no thread but this one is left.
void lock_threads();
void unlock_threads();
void forget_threads();
void forget_user_pool(llama_context *ctx, ggml_threadpool_t pool);

// Whether layers can go to another device than the CPU: a GPU, or an RPC server that was added.
bool supports_gpu_offload(call *);
ggml_backend_reg_t rpc_add_server(call *, const char *endpoint);

}  // namespace llamacffi
