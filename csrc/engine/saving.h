// Files that C opens for writing: one that this process has mapped, as a model that was loaded is, is refused. To cut
// it off would end the process with SIGBUS as soon as the model is used.
#pragma once

#include <cstdio>

#include "core/call.h"

namespace llamacffi {

FILE *open_file(call *, const char *name, const char *mode);
void save_model(call *, const llama_model *model, const char *path);
bool save_gguf(call *, const gguf_context *ctx, const char *path, bool only_meta);
bool save_state(call *, llama_context *ctx, const char *path, const llama_token *tokens, size_t count);
size_t save_sequence(call *, llama_context *ctx, const char *path, llama_seq_id sequence, const llama_token *tokens,
                     size_t count);

}  // namespace llamacffi
