// See samplers.h.
#include "engine/samplers.h"

#include <stdexcept>

namespace llamacffi {

llama_sampler *sampler_init(call *, llama_sampler_i *iface, llama_sampler_context_t ctx) {
    if (!iface->apply) throw std::invalid_argument("iface->apply must be set");
    return llama_sampler_init(iface, ctx);
}

const char *sampler_name(call *, const llama_sampler *sampler) {
    return sampler->iface && sampler->iface->name ? llama_sampler_name(sampler) : "(without a name)";
}

void sampler_apply(call *, llama_sampler *sampler, llama_token_data_array *candidates) {
    if (candidates->size && !candidates->data) throw std::invalid_argument("cur_p->data is NULL");
    if (candidates->selected >= static_cast<int64_t>(candidates->size) && candidates->selected > 0)
        throw std::invalid_argument("cur_p->selected is not below cur_p->size");
    llama_sampler_apply(sampler, candidates);
}

}  // namespace llamacffi
