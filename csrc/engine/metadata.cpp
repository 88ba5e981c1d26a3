// See metadata.h.
#include "engine/metadata.h"

#include "llama-model.h"  // private: it has them

namespace llamacffi {

texts metadata_of(const llama_model *model) {
    texts all;
    all.reserve(model->gguf_kv.size());
    for (const auto &[key, value] : model->gguf_kv) all.emplace_back(key.c_str(), value.c_str());
    return all;
}

}  // namespace llamacffi
