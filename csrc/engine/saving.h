// Files that C opens for writing. To cut off what is mapped, as a model that was loaded is, would end the process with
// SIGBUS as soon as the model is used: so each file is a new one, which takes the place of what stood there
// (replaced_file.h). What this process has mapped is refused as well, since a model that is in use is hardly meant to
// be lost to a state; and the file that C itself opens elsewhere (Windows, a file without a name) is protected by that.
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
