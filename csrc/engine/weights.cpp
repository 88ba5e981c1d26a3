// See weights.h; and whether a model has weights, which llama.cpp's public headers do not tell: `params.no_alloc` loads
// one without, to measure how much memory it would take.
#include "engine/weights.h"

#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include "core/errors.h"
#include "engine/contexts.h"
#include "ggml-backend-impl.h"
#include "llama-model.h"

namespace llamacffi {

namespace {

std::map<ggml_backend_buffer_type_t, decltype(ggml_backend_buffer_type_i::alloc_buffer)> upstream_alloc;

void refuse_reading(ggml_backend_buffer_t, const ggml_tensor *tensor, void *, size_t, size_t) {
    throw std::runtime_error(std::string("the weights ") + tensor->name +
                             " stand in another order for this CPU, and cannot be read back: load the model with "
                             "params.use_extra_bufts = False to save it");
}

ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t type, size_t size) {
    ggml_backend_buffer_t buffer = upstream_alloc.at(type)(type, size);
    if (buffer && !buffer->iface.get_tensor) buffer->iface.get_tensor = refuse_reading;
    return buffer;
}

}  // namespace

// Under a mutex that a fork waits for: a child must not find the half of it.
void refuse_reading_of_reordered_weights() {
    ggml_backend_reg_t cpu = ggml_backend_reg_by_name("CPU");
    const auto buffers_of = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
        ggml_backend_reg_get_proc_address(cpu, "ggml_backend_dev_get_extra_bufts"));
    auto *type = buffers_of(ggml_backend_reg_dev_get(cpu, 0));
    const std::lock_guard<std::mutex> lock(abort_mutex);
    for (; type && *type; ++type) {
        if ((*type)->iface.alloc_buffer == alloc_buffer) continue;
        upstream_alloc[*type] = (*type)->iface.alloc_buffer;
        (*type)->iface.alloc_buffer = alloc_buffer;
    }
}

void require_readable_weights(const llama_model *model) {
    for (const auto &[name, tensor] : model->tensors_by_name) {
        if (tensor->buffer && tensor->buffer->iface.get_tensor == refuse_reading)
            refuse_reading(tensor->buffer, tensor, nullptr, 0, 0);
    }
}

// What computes, or writes into the cache, writes to memory that such a model does not have.
bool check_weights(call &c, unsigned position) {
    const auto *ctx = static_cast<const llama_context *>(c.addresses[position]);
    if (!llama_get_model(ctx)->hparams.no_alloc) return true;
    return refuse_value(c, c.parameters()[position],
                        "has a model that was loaded with no_alloc, and so without weights");
}

}  // namespace llamacffi
