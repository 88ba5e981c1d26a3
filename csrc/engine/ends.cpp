// See ends.h. What ends when, csrc/checks/reads.h finds out before C is entered.
#include "engine/ends.h"

#include "checks/reads.h"
#include "core/guard.h"
#include "engine/contexts.h"
#include "engine/media.h"
#include "engine/quiet_end.h"

namespace llamacffi {

namespace {

// Foreign code has no record.
void begin_end_without_record(const void *address, call_extras &more) {
    static constexpr function_row by_address{
        {type_kind::VOID, 0, 0, false, ""}, "a call through a function's address", "", nullptr};
    with_gil([&] {
        const border_lock lock;
        begin_end(address, by_address, more);
    });
}

void drop_without_record(call_extras &more) {
    if (more.released.empty()) return;
    with_gil([&] {
        for (PyObject *one : more.released) Py_DECREF(one);
    });
}

template <typename T>
void free_as(void (*free)(T *), const void *address) {
    free(static_cast<T *>(const_cast<void *>(address)));
}

// What lives on (policy.toml) is freed here.
void free_unread(const unread_object &one) {
    switch (one.kind) {
        case kind_of_llama_model: return free_as(llama_model_free, one.address);
        case kind_of_llama_context: return free_as(end_context, one.address);
        case kind_of_ggml_context: return free_as(ggml_free, one.address);
        case kind_of_ggml_backend: return free_as(ggml_backend_free, one.address);
        case kind_of_ggml_backend_sched: return free_as(ggml_backend_sched_free, one.address);
        case kind_of_ggml_threadpool: return free_as(ggml_threadpool_free, one.address);
        case kind_of_mtmd_context: return free_as(mtmd_free, one.address);
        case kind_of_mtmd_input_chunks: return free_as(mtmd_input_chunks_free, one.address);
        case kind_of_mtmd_input_chunk: return free_as(mtmd_input_chunk_free, one.address);
        case kind_of_mtmd_helper_video: return free_as(mtmd_helper_video_free, one.address);
        default: return;
    }
}

// `retire` is called for what is still read, instead.
template <typename T>
void end(call *c, T *address, void (*free)(T *), void (*retire)(T *) = nullptr) {
    call_extras own;
    if (!c && address) begin_end_without_record(address, own);
    const call_extras &ending = c ? c->more() : own;
    const quiet_end quiet;
    if (!ending.deferred)
        free(address);
    else if (retire)
        retire(address);
    for (const unread_object &one : ending.unread) free_unread(one);
    drop_without_record(own);
}

}  // namespace

void free_model(call *c, llama_model *model) { end(c, model, llama_model_free); }

void free_context(call *c, llama_context *ctx) { end(c, ctx, end_context, retire_context); }

void free_sampler(call *c, llama_sampler *sampler) { end(c, sampler, llama_sampler_free); }

void free_batch_ext(call *c, llama_batch_ext *batch) { end(c, batch, llama_batch_ext_free); }

void free_ggml_context(call *c, ggml_context *ctx) { end(c, ctx, ggml_free); }

void free_backend(call *c, ggml_backend *backend) { end(c, backend, ggml_backend_free); }

void free_sched(call *c, ggml_backend_sched *sched) { end(c, sched, ggml_backend_sched_free); }

// C's function reads what it frees.
void free_opt_dataset(call *, ggml_opt_dataset *dataset) {
    if (dataset) ggml_opt_dataset_free(dataset);
}

void free_opt_context(call *c, ggml_opt_context *opt_ctx) { end(c, opt_ctx, ggml_opt_free); }

void free_threadpool(call *c, ggml_threadpool *threadpool) { end(c, threadpool, ggml_threadpool_free); }

void free_media_context(call *c, mtmd_context *ctx) { end(c, ctx, mtmd_free); }

void free_bitmap(call *c, mtmd_bitmap *bitmap) { end(c, bitmap, end_bitmap); }

void free_chunks(call *c, mtmd_input_chunks *chunks) { end(c, chunks, mtmd_input_chunks_free); }

void free_chunk(call *c, mtmd_input_chunk *chunk) { end(c, chunk, mtmd_input_chunk_free); }

void free_media_batch(call *c, mtmd_batch *batch) { end(c, batch, mtmd_batch_free); }

void free_video(call *c, mtmd_helper_video *ctx) { end(c, ctx, mtmd_helper_video_free); }

void free_gen_audio(call *c, mtmd_helper_gen_audio *ctx) { end(c, ctx, mtmd_helper_gen_audio_free); }

// C pauses the one that it replaces, which is alive until then.
void set_backend_threadpool(call *, ggml_backend *backend_cpu, ggml_threadpool *threadpool) {
    ggml_backend_cpu_set_threadpool(backend_cpu, threadpool);
    call_extras ending;
    with_gil([&] {
        const border_lock lock;
        read_instead(backend_cpu, kind_of_ggml_threadpool, threadpool, ending);
    });
    for (const unread_object &one : ending.unread) free_unread(one);
    drop_without_record(ending);
}

}  // namespace llamacffi
