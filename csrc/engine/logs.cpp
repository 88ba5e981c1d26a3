// See logs.h.
#include "engine/logs.h"

#include <cstdio>

#include "engine/threads.h"

namespace llamacffi {

std::mutex log_mutex;

namespace {

struct log_target {
    ggml_log_callback callback = nullptr;  // nullptr is stderr
    void *user_data = nullptr;
};

log_target log_destination;
thread_local std::string last_error;
thread_local ggml_log_level last_level = GGML_LOG_LEVEL_NONE;

constexpr size_t kept_log = 4000;  // bytes: enough for the reasons, small enough for an exception's text

void keep_error(const char *text) {
    if (!current) {
        last_error_text() = text;
        return;
    }
    if (!current->errors) current->errors = std::make_unique<std::string>();
    current->errors->append(text);
    if (current->errors->size() > kept_log) current->errors->erase(0, current->errors->size() - kept_log);
}

void strip_end(std::string &text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
}

}  // namespace

std::string &last_error_text() { return last_error; }

void log_sink(ggml_log_level level, const char *text, void *) {
    if (unasked && level == GGML_LOG_LEVEL_DEBUG) return;
    if (level != GGML_LOG_LEVEL_CONT) last_level = level;
    if (last_level == GGML_LOG_LEVEL_ERROR) keep_error(text);
    log_target to;
    {
        const std::lock_guard<std::mutex> lock(log_mutex);
        to = log_destination;
    }
    if (to.callback) {
        // It is a Python function as a rule: none may run once the interpreter ends, and what is freed then is of no
        // news.
        if (Py_IsInitialized()) to.callback(level, text, to.user_data);
        return;
    }
    std::fputs(text, stderr);
    std::fflush(stderr);
}

void finish_log(call &c) {
    if (!c.errors) return;
    strip_end(*c.errors);
    last_error_text() = *c.errors;
}

void log_set(call *, ggml_log_callback callback, void *user_data) {
    const std::lock_guard<std::mutex> lock(log_mutex);
    log_destination = {callback, user_data};
}

void log_get(call *, ggml_log_callback *callback, void **user_data) {
    const std::lock_guard<std::mutex> lock(log_mutex);
    *callback = log_destination.callback;
    *user_data = log_destination.user_data;
}

}  // namespace llamacffi
