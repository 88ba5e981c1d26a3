// A model's metadata at once. By index, llama.cpp goes through all that stand before each one.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "llama.h"

namespace llamacffi {

using texts = std::vector<std::pair<std::string, std::string>>;

// In the order of the indexes, and as `llama_model_meta_val_str_by_index` has them.
texts metadata_of(const llama_model *model);

}  // namespace llamacffi
