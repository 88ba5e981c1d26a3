// Models: loading, which Ctrl-C and a callback's exception end, and freeing, which waits for the last context.
#pragma once

#include <cstdio>
#include <mutex>

#include "core/call.h"

namespace llamacffi {

llama_model *load_from_file(call *c, const char *path, llama_model_params params);
llama_model *load_from_file_ptr(call *c, FILE *file, llama_model_params params);
llama_model *load_from_splits(call *c, const char **paths, size_t count, llama_model_params params);
llama_model *init_from_user(call *c, gguf_context *metadata, llama_model_set_tensor_data_t set_data, void *user_data,
                            llama_model_params params);
void free_model(call *, llama_model *model);

// A model lives as long as its contexts.
void add_context(llama_model *model);
void remove_context(llama_model *model);

bool is_control(call *, const llama_vocab *vocab, llama_token token);

extern std::mutex models_mutex;

}  // namespace llamacffi
