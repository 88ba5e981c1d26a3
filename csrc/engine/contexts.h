// Contexts: making and freeing one, and what runs its graph: Ctrl-C and a callback's exception end a decode.
#pragma once

#include <mutex>

#include "core/call.h"

namespace llamacffi {

llama_context *init_from_model(call *c, llama_model *model, llama_context_params params);

// The end of a context; and what stays of one that is freed while others read it: it uses nothing of the user's any
// more.
void end_context(llama_context *ctx);
void retire_context(llama_context *ctx);

// While one lives, the context computes, with its threads, until it is done or cancelled.
class computing {
  public:
    explicit computing(llama_context *ctx);
    ~computing();
    computing(const computing &) = delete;
    computing &operator=(const computing &) = delete;

  private:
    const llama_context *ctx_;
};

// Which computation of the process was its last, or its making; no two have one number.
uint64_t last_computation(const llama_context *ctx);

// End what the context computes; any thread may ask for it. False where it computes nothing.
bool cancel(const llama_context *ctx);

int32_t decode(call *, llama_context *ctx, llama_batch batch);
int32_t encode(call *, llama_context *ctx, llama_batch batch);
int32_t process(call *, llama_context *ctx, llama_process_type type, llama_batch_ext *batch);

void set_abort_callback(call *, llama_context *ctx, ggml_abort_callback callback, void *user_data);
bool set_sampler(call *, llama_context *ctx, llama_seq_id sequence, llama_sampler *sampler);
void attach_threadpool(call *, llama_context *ctx, ggml_threadpool_t pool, ggml_threadpool_t pool_batch);
void detach_threadpool(call *, llama_context *ctx);
ggml_threadpool *threadpool_new(call *, ggml_threadpool_params *params);

void opt_epoch(call *, llama_context *ctx, ggml_opt_dataset_t dataset, ggml_opt_result_t result_train,
               ggml_opt_result_t result_eval, int64_t idata_split, ggml_opt_epoch_callback callback_train,
               ggml_opt_epoch_callback callback_eval);
llama_batch batch_init(call *, int32_t n_tokens, int32_t embd, int32_t n_seq_max);

extern std::mutex abort_mutex;

}  // namespace llamacffi
