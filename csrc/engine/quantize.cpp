// See quantize.h.
#include "engine/quantize.h"

#include <filesystem>
#include <stdexcept>

#include "engine/replaced_file.h"

namespace llamacffi {

namespace {

void check_quantize(const char *input, const char *output) {
    if (!*input || !*output) throw std::invalid_argument("fname_inp and fname_out must not be empty");
    std::error_code ignored;
    if (std::filesystem::equivalent(input, output, ignored))
        throw std::invalid_argument("fname_out is the file that is read: it would be destroyed");
}

}  // namespace

// A split output has names of its own.
uint32_t quantize(call *, const char *input, const char *output, const llama_model_quantize_params *params) {
    check_quantize(input, output);
    if (params->keep_split || params->dry_run) return llama_model_quantize(input, output, params);
    replaced_file file(output);
    const uint32_t result = llama_model_quantize(input, file.partial().c_str(), params);
    if (result == 0) file.put_gguf_in_place();
    return result;
}

}  // namespace llamacffi
