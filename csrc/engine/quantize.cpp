// See quantize.h.
#include "engine/quantize.h"

#include <filesystem>
#include <stdexcept>
#include <string>

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
    const std::string partial = std::string(output) + ".part";
    std::error_code error;
    try {
        const uint32_t result = llama_model_quantize(input, partial.c_str(), params);
        if (result == 0) {
            std::filesystem::rename(partial, output);
            return 0;
        }
        std::filesystem::remove(partial, error);
        return result;
    } catch (...) {
        std::filesystem::remove(partial, error);
        throw;
    }
}

}  // namespace llamacffi
