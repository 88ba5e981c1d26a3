// What llama.cpp logs: kept for exceptions and for `last_error()`, and passed on to whoever wants it.
//
// `log_sink` is llama.cpp's log callback for good. Behind it stands the callback of the user (`llama_log_set`), or
// Python's `logging` (`log_to`), or stderr as upstream does. `media_log_sink` is mtmd's: behind it stands the callback
// of `mtmd_log_set`, or where there is none the same as behind `log_sink`.
#pragma once

#include <string>

#include "core/call.h"

namespace llamacffi {

void log_sink(ggml_log_level level, const char *text, void *);
void media_log_sink(ggml_log_level level, const char *text, void *);

// What the call logged as errors becomes the thread's last error.
void finish_log(call &c);

std::string &last_error_text();

// In the place of llama_log_set, llama_log_get and ggml's own.
void log_set(call *, ggml_log_callback callback, void *user_data);
void log_get(call *, ggml_log_callback *callback, void **user_data);

// In the place of mtmd_log_set and mtmd_helper_log_set.
void media_log_set(call *, ggml_log_callback callback, void *user_data);

}  // namespace llamacffi
