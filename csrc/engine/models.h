// Models: loading, which Ctrl-C and a callback's exception end.
#pragma once

#include <cstdio>

#include "core/call.h"

namespace llamacffi {

llama_model *load_from_file(call *c, const char *path, llama_model_params params);
llama_model *load_from_file_ptr(call *c, FILE *file, llama_model_params params);
llama_model *load_from_splits(call *c, const char **paths, size_t count, llama_model_params params);
llama_model *init_from_user(call *c, gguf_context *metadata, llama_model_set_tensor_data_t set_data, void *user_data,
                            llama_model_params params);

}  // namespace llamacffi
