// Images and sound: what we do in the place of mtmd's functions. What may be decoded says media_limits.h.
#pragma once

#include "core/call.h"

namespace llamacffi {

mtmd_context *media_init_from_file(call *c, const char *path, const llama_model *model, mtmd_context_params params);

mtmd_helper_bitmap_wrapper bitmap_from_file(call *c, const mtmd_context *ctx, const char *path, bool placeholder,
                                            mtmd_helper_init_opt options);
mtmd_helper_bitmap_wrapper bitmap_from_buf(call *c, const mtmd_context *ctx, const unsigned char *data, size_t size,
                                           bool placeholder, mtmd_helper_init_opt options);

// C frees what the callback of a lazy bitmap gives it: from then on it is dead to the caller.
mtmd_bitmap *bitmap_init_lazy(call *c, const mtmd_context *ctx, const char *id, void *user_data,
                              mtmd_bitmap_lazy_callback callback);
void end_bitmap(mtmd_bitmap *bitmap);

int32_t video_read_next(call *c, mtmd_helper_video *ctx, mtmd_bitmap **bitmap, char **text);

// They compute with `lctx` as llama_decode does, and need its threads.
int32_t eval_chunks(call *c, mtmd_context *ctx, llama_context *lctx, const mtmd_input_chunks *chunks, llama_pos n_past,
                    llama_seq_id sequence, int32_t n_batch, bool logits_last, llama_pos *new_n_past);
int32_t eval_chunk_single(call *c, mtmd_context *ctx, llama_context *lctx, const mtmd_input_chunk *chunk,
                          llama_pos n_past, llama_seq_id sequence, int32_t n_batch, bool logits_last,
                          llama_pos *new_n_past);
int32_t decode_image_chunk(call *c, mtmd_context *ctx, llama_context *lctx, const mtmd_input_chunk *chunk,
                           float *embeddings, llama_pos n_past, llama_seq_id sequence, int32_t n_batch,
                           llama_pos *new_n_past, mtmd_helper_post_decode_callback callback, void *user_data);

}  // namespace llamacffi
