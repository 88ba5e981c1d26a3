// See logs.h.
#include "engine/logs.h"

#include <cstdio>

#include "core/callbacks.h"
#include "engine/threads.h"

namespace llamacffi {

namespace {

callback_slot<ggml_log_callback> log_destination;    // without a function it is stderr
callback_slot<ggml_log_callback> media_destination;  // without a function it is the other
thread_local std::string last_error;
thread_local ggml_log_level last_level = GGML_LOG_LEVEL_NONE;

constexpr size_t kept_log = 4000;  // bytes: enough for the reasons, small enough for an exception's text

void keep_error(const char *text) {
    if (!current) {
        last_error_text() = text;
        return;
    }
    std::string &errors = current->more().errors;
    errors.append(text);
    if (errors.size() > kept_log) errors.erase(0, errors.size() - kept_log);
}

void strip_end(std::string &text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
}

void note(ggml_log_level level, const char *text) {
    if (level != GGML_LOG_LEVEL_CONT) last_level = level;
    if (last_level == GGML_LOG_LEVEL_ERROR) keep_error(text);
}

void pass_on(const user_callback<ggml_log_callback> &user, ggml_log_level level, const char *text) {
    if (user.function) {
        // It is a Python function as a rule: none may run once the interpreter ends, and what is freed then is of no
        // news.
        if (Py_IsInitialized()) user.function(level, text, user.data);
        return;
    }
    std::fputs(text, stderr);
    std::fflush(stderr);
}

}  // namespace

std::string &last_error_text() { return last_error; }

void log_sink(ggml_log_level level, const char *text, void *) {
    if (unasked && level == GGML_LOG_LEVEL_DEBUG) return;
    note(level, text);
    pass_on(log_destination.get(), level, text);
}

void media_log_sink(ggml_log_level level, const char *text, void *) {
    note(level, text);
    const auto own = media_destination.get();
    pass_on(own.function ? own : log_destination.get(), level, text);
}

void finish_log(call &c) {
    if (!c.extras || c.extras->errors.empty()) return;
    strip_end(c.extras->errors);
    last_error_text() = c.extras->errors;
}

void log_set(call *c, ggml_log_callback callback, void *user_data) { log_destination.set(c, 0, callback, user_data); }

void media_log_set(call *c, ggml_log_callback callback, void *user_data) {
    media_destination.set(c, 0, callback, user_data);
}

void log_get(call *, ggml_log_callback *callback, void **user_data) {
    const auto user = log_destination.get();
    *callback = user.function;
    *user_data = user.data;
}

}  // namespace llamacffi
