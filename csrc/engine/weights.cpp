// Whether a model has weights, which llama.cpp's public headers do not tell: `params.no_alloc` loads one without, to
// measure how much memory it would take.
#include "core/errors.h"
#include "llama-model.h"

namespace llamacffi {

// What computes, or writes into the cache, writes to memory that such a model does not have.
bool check_weights(call &c, unsigned position) {
    const auto *ctx = static_cast<const llama_context *>(c.addresses[position]);
    if (!llama_get_model(ctx)->hparams.no_alloc) return true;
    return refuse_value(c, c.parameters()[position],
                        "has a model that was loaded with no_alloc, and so without weights");
}

}  // namespace llamacffi
