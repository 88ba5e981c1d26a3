// What llama.cpp logs: kept for exceptions and for `last_error()`, and passed on to whoever wants it.
//
// The sink below is llama.cpp's log callback for good. Behind it stands the callback of the user
// (`llama_log_set`), or Python's `logging` (`log_to`), or stderr as upstream does.
#pragma once

#include <Python.h>

#include <cstdio>
#include <mutex>
#include <string>

#include "call.h"
#include "engine/threads.h"

namespace llamacffi {

struct log_target {
    ggml_log_callback callback = nullptr;  // nullptr is stderr
    void *user_data = nullptr;
};

static std::mutex log_mutex;
static log_target log_destination;
static thread_local std::string last_error_text;
static thread_local ggml_log_level last_level = GGML_LOG_LEVEL_NONE;

constexpr size_t kept_log = 4000;  // bytes: enough for the reasons, small enough for an exception's text

static void keep_error(const char *text) {
    if (!current) {
        last_error_text = text;
        return;
    }
    if (!current->errors) current->errors = std::make_unique<std::string>();
    current->errors->append(text);
    if (current->errors->size() > kept_log) current->errors->erase(0, current->errors->size() - kept_log);
}

static void log_sink(ggml_log_level level, const char *text, void *) {
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

static void strip_end(std::string &text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
}

// What the call logged as errors becomes the thread's last error.
static void finish_log(call &c) {
    if (!c.errors) return;
    strip_end(*c.errors);
    last_error_text = *c.errors;
}

static void set_log_target(ggml_log_callback callback, void *user_data) {
    const std::lock_guard<std::mutex> lock(log_mutex);
    log_destination = {callback, user_data};
}

static void get_log_target(ggml_log_callback *callback, void **user_data) {
    const std::lock_guard<std::mutex> lock(log_mutex);
    *callback = log_destination.callback;
    *user_data = log_destination.user_data;
}

}  // namespace llamacffi
