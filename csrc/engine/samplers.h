// Samplers: what C takes for granted of one that the caller built, and of candidates.
#pragma once

#include "core/call.h"

namespace llamacffi {

llama_sampler *sampler_init(call *, llama_sampler_i *iface, llama_sampler_context_t ctx);
const char *sampler_name(call *, const llama_sampler *sampler);
void sampler_apply(call *, llama_sampler *sampler, llama_token_data_array *candidates);

}  // namespace llamacffi
