// See media.h.
#include "engine/media.h"

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "checks/handle_table.h"
#include "core/callbacks.h"
#include "core/guard.h"
#include "engine/contexts.h"
#include "engine/cpus.h"
#include "engine/logs.h"
#include "engine/threads.h"

namespace llamacffi {

namespace {

// A callback of the user's, and what C hands on to it.
template <typename Function>
struct hooked {
    Function function;
    void *user_data;
};

bool progress_hook(float progress, void *data) {
    const auto &user = *static_cast<const hooked<mtmd_progress_callback> *>(data);
    return (!user.function || user.function(progress, user.user_data)) && !must_stop();
}

int32_t decoded_hook(const mtmd_helper_embd_batch *batch, void *data) {
    const auto &user = *static_cast<const hooked<mtmd_helper_post_decode_callback> *>(data);
    const int32_t answer = user.function(batch, user.user_data);
    return must_stop() ? 1 : answer;
}

}  // namespace

mtmd_context *media_init_from_file(call *c, const char *path, const llama_model *model, mtmd_context_params params) {
    hooked<mtmd_progress_callback> progress{params.progress_callback, params.progress_callback_user_data};
    params.progress_callback = progress_hook;
    params.progress_callback_user_data = &progress;
    params.n_threads = limited(params.n_threads, most_threads());
    mtmd_context *ctx = mtmd_init_from_file(path, model, params);
    if (!ctx || !has_failed(c)) return ctx;
    mtmd_free(ctx);
    return nullptr;
}

// ---------------------------------------------------------------- bitmaps

mtmd_helper_bitmap_wrapper bitmap_from_file(call *, const mtmd_context *ctx, const char *path, bool placeholder,
                                            mtmd_helper_init_opt options) {
    return mtmd_helper_bitmap_init_from_file(ctx, path, placeholder, options);
}

mtmd_helper_bitmap_wrapper bitmap_from_buf(call *, const mtmd_context *ctx, const unsigned char *data, size_t size,
                                           bool placeholder, mtmd_helper_init_opt options) {
    return mtmd_helper_bitmap_init_from_buf(ctx, data, size, placeholder, options);
}

namespace {

using lazy_hook = hooked<mtmd_bitmap_lazy_callback>;

std::unordered_map<const mtmd_bitmap *, std::unique_ptr<lazy_hook>> lazy_hooks;  // guarded by callbacks_mutex

bool is_lazy(const mtmd_bitmap *bitmap) {
    const std::lock_guard<std::mutex> lock(callbacks_mutex);
    return lazy_hooks.count(bitmap) != 0;
}

// Whether C may have the bitmap, and free it; then it is freed for the caller.
bool give_away(const mtmd_bitmap *bitmap) {
    static constexpr function_row tokenizing{{type_kind::VOID, 0, 0, false, ""}, "mtmd_tokenize", "", nullptr};
    const handle *known = handles.find(bitmap);
    const bool good = known && known->kind == kind_of_mtmd_bitmap && known->life == life::LIVE && !known->depth;
    if (!good || is_lazy(bitmap)) return false;
    handles.free(bitmap, tokenizing);
    return true;
}

int refuse_given(mtmd_bitmap **bitmap) {
    *bitmap = nullptr;
    media_log_sink(GGML_LOG_LEVEL_ERROR,
                   "the callback of a lazy bitmap gave no live mtmd_bitmap, or one that is lazy or in use\n", nullptr);
    return -2;
}

int lazy_callback(size_t index, void *data, mtmd_bitmap **bitmap, char **text) {
    const auto &user = *static_cast<const lazy_hook *>(data);
    const int answer = user.function(index, user.user_data, bitmap, text);
    if (must_stop()) return -2;
    if (answer || !*bitmap || *text) return answer;
    bool given = false;
    with_gil([&] {
        const border_lock lock;
        given = give_away(*bitmap);
    });
    return given ? answer : refuse_given(bitmap);
}

}  // namespace

mtmd_bitmap *bitmap_init_lazy(call *, const mtmd_context *ctx, const char *id, void *user_data,
                              mtmd_bitmap_lazy_callback callback) {
    auto hook = std::make_unique<lazy_hook>(lazy_hook{callback, user_data});
    mtmd_bitmap *bitmap = mtmd_bitmap_init_lazy(ctx, id, hook.get(), lazy_callback);
    const std::lock_guard<std::mutex> lock(callbacks_mutex);
    lazy_hooks[bitmap] = std::move(hook);
    return bitmap;
}

void end_bitmap(mtmd_bitmap *bitmap) {
    {
        const std::lock_guard<std::mutex> lock(callbacks_mutex);
        lazy_hooks.erase(bitmap);
    }
    mtmd_bitmap_free(bitmap);
}

int32_t video_read_next(call *, mtmd_helper_video *ctx, mtmd_bitmap **bitmap, char **text) {
    const int32_t answer = mtmd_helper_video_read_next(ctx, bitmap, text);
    with_gil([&] {
        const border_lock lock;
        if (*bitmap) handles.put(*bitmap, kind_of_mtmd_bitmap, nullptr);
    });
    return answer;
}

// ---------------------------------------------------------------- graphs

int32_t eval_chunks(call *, mtmd_context *ctx, llama_context *lctx, const mtmd_input_chunks *chunks, llama_pos n_past,
                    llama_seq_id sequence, int32_t n_batch, bool logits_last, llama_pos *new_n_past) {
    const computing here(lctx);
    return mtmd_helper_eval_chunks(ctx, lctx, chunks, n_past, sequence, n_batch, logits_last, new_n_past);
}

int32_t eval_chunk_single(call *, mtmd_context *ctx, llama_context *lctx, const mtmd_input_chunk *chunk,
                          llama_pos n_past, llama_seq_id sequence, int32_t n_batch, bool logits_last,
                          llama_pos *new_n_past) {
    const computing here(lctx);
    return mtmd_helper_eval_chunk_single(ctx, lctx, chunk, n_past, sequence, n_batch, logits_last, new_n_past);
}

int32_t decode_image_chunk(call *, mtmd_context *ctx, llama_context *lctx, const mtmd_input_chunk *chunk,
                           float *embeddings, llama_pos n_past, llama_seq_id sequence, int32_t n_batch,
                           llama_pos *new_n_past, mtmd_helper_post_decode_callback callback, void *user_data) {
    const computing here(lctx);
    hooked<mtmd_helper_post_decode_callback> user{callback, user_data};
    return mtmd_helper_decode_image_chunk(ctx, lctx, chunk, embeddings, n_past, sequence, n_batch, new_n_past,
                                          callback ? decoded_hook : nullptr, &user);
}

}  // namespace llamacffi
