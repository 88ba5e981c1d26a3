// Compiled into mtmd, which calls these in the place of functions whose names are macros there.
#include <stdexcept>

#include "clip-impl.h"
#include "clip.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"

#include "deep_stack.h"  // in this folder

namespace llamacffi {

void lack_tensor() {
    throw std::runtime_error("the projector's file lacks a tensor that its kind of projector computes with");
}

void look_beyond_tensor() {
    throw std::runtime_error("a tensor of the projector's file is smaller than its kind of projector computes with");
}

void divide_by_zero() {
    throw std::runtime_error("the projector's file says that a number is 0 which its kind of projector divides by");
}

}  // namespace llamacffi

// Upstream looks at the first entry of a batch, and a chunk that was loaded from a buffer may have none.
bool llamacffi_image_batch_encode(clip_ctx *ctx, int n_threads, const clip_image_f32_batch *batch,
                                  std::vector<float> &embeddings) {
    if (batch->entries.empty()) throw std::runtime_error("the chunk holds no image and no sound");
    return clip_image_batch_encode(ctx, n_threads, batch, embeddings);
}

// An image is encoded until Ctrl-C is pressed, or a callback has raised.
extern "C" ggml_backend_t llamacffi_stoppable_backend(enum ggml_backend_dev_type type, const char *params) {
    ggml_backend_t backend = ggml_backend_init_by_type(type, params);
    if (backend && ggml_backend_is_cpu(backend))
        ggml_backend_cpu_set_abort_callback(backend, [](void *) { return llamacffi::asked_to_stop(); }, nullptr);
    return backend;
}
