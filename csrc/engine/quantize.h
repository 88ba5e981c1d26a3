// Quantizing: the output is written beside its name and renamed when it is whole (replaced_file.h), so that
// a failure leaves what was there.
#pragma once

#include "core/call.h"

namespace llamacffi {

uint32_t quantize(call *, const char *input, const char *output, const llama_model_quantize_params *params);

}  // namespace llamacffi
