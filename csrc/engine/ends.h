// Freeing what is read by others, or reads others: C's own function now, or when the last reader has gone.
#pragma once

#include "core/call.h"

namespace llamacffi {

void free_model(call *c, llama_model *model);
void free_context(call *c, llama_context *ctx);
void free_sampler(call *c, llama_sampler *sampler);
void free_batch_ext(call *c, llama_batch_ext *batch);
void free_ggml_context(call *c, ggml_context *ctx);
void free_backend(call *c, ggml_backend *backend);
void free_sched(call *c, ggml_backend_sched *sched);
void free_opt_dataset(call *c, ggml_opt_dataset *dataset);
void free_opt_context(call *c, ggml_opt_context *opt_ctx);
void free_threadpool(call *c, ggml_threadpool *threadpool);
void free_media_context(call *c, mtmd_context *ctx);
void free_bitmap(call *c, mtmd_bitmap *bitmap);
void free_chunks(call *c, mtmd_input_chunks *chunks);
void free_chunk(call *c, mtmd_input_chunk *chunk);
void free_media_batch(call *c, mtmd_batch *batch);
void free_video(call *c, mtmd_helper_video *ctx);
void free_gen_audio(call *c, mtmd_helper_gen_audio *ctx);

// A CPU backend goes on using the pool that it is given.
void set_backend_threadpool(call *c, ggml_backend *backend_cpu, ggml_threadpool *threadpool);

}  // namespace llamacffi
