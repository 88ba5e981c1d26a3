// Into C and back: the GIL, C++ exceptions, failed assertions, and exceptions that callbacks left behind.
//
// `running` stands around each call of a C function. What C++ throws becomes a Python exception that begins with
// the function's name and ends with what llama.cpp logged during the call. A failed GGML_ASSERT calls the hook
// below before it aborts: on a thread that is inside a call it throws, and so ends up here as well; on any other
// thread (a worker of the compute pool) nothing can catch it, and the process ends as it would without us.
#pragma once

#include <Python.h>

#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <atomic>
#include <mutex>
#include <unordered_set>

#include "call.h"
#include "errors.h"
#include "logs.h"

namespace llamacffi {

static ggml_abort_callback_t user_abort_callback;

// The contexts whose decode ended in a failed assertion: their graphs and caches are in no known state.
class broken_set {
  public:
    void mark(const void *ctx) {
        const std::lock_guard<std::mutex> lock(mutex_);
        contexts_.insert(ctx);
        any_ = true;
    }

    void forget(const void *ctx) {
        if (!any_) return;
        const std::lock_guard<std::mutex> lock(mutex_);
        contexts_.erase(ctx);
        any_ = !contexts_.empty();
    }

    bool has(const void *ctx) {
        if (!any_) return false;
        const std::lock_guard<std::mutex> lock(mutex_);
        return contexts_.count(ctx) != 0;
    }

  private:
    std::mutex mutex_;
    std::unordered_set<const void *> contexts_;
    std::atomic<bool> any_{false};
};

static broken_set broken_contexts;

static bool breaks_context(const function &what) {
    return compare(what.name, "llama_decode") == 0 || compare(what.name, "llama_encode") == 0 ||
           compare(what.name, "llama_process") == 0;
}

static void throw_assertion(const char *message) {
    if (user_abort_callback) user_abort_callback(message);
    if (current) throw assertion_failed{message};
    std::fprintf(stderr, "%s\n", message);
}

static std::string with_log(const call &c, const char *text) {
    std::string message = std::string(c.what.name) + "(): " + text;
    if (c.errors && !c.errors->empty()) message += "\nllama.cpp logged: " + *c.errors;
    return message;
}

// Translate what is being thrown; called inside a catch block, with the GIL held.
static void set_exception(const call &c) {
    try {
        throw;
    } catch (const assertion_failed &failed) {
        if (breaks_context(c.what)) broken_contexts.mark(c.owner);
        PyErr_SetString(LlamaAssertionError, with_log(c, failed.message.c_str()).c_str());
    } catch (const std::bad_alloc &) {
        PyErr_SetString(PyExc_MemoryError, with_log(c, "out of memory").c_str());
    } catch (const std::invalid_argument &error) {
        PyErr_SetString(LlamaValueError, with_log(c, error.what()).c_str());
    } catch (const std::exception &error) {
        PyErr_SetString(LlamaError, with_log(c, error.what()).c_str());
    } catch (...) {
        PyErr_SetString(LlamaError, with_log(c, "an unknown C++ exception").c_str());
    }
}

class running {
  public:
    explicit running(call &c, bool keeps_gil) : call_(c) {
        c.previous = current;
        current = &c;
        if (!keeps_gil) c.thread_state = PyEval_SaveThread();
    }

    // Back in Python: false when a callback left an exception, which is then raised.
    bool leave() {
        take_gil();
        finish_log(call_);
        if (!call_.pending) return true;
        raise_again(call_.pending);
        return false;
    }

    // Back in Python with an exception, out of a catch block.
    PyObject *failed() {
        take_gil();
        finish_log(call_);
        if (call_.pending)
            raise_again(call_.pending);
        else
            set_exception(call_);
        return nullptr;
    }

  private:
    // At the interpreter's end CPython unwinds the thread here; nothing of Python may be touched after it.
    void take_gil() {
        current = call_.previous;
        if (!call_.thread_state) return;
        call_.abandoned = true;
        PyEval_RestoreThread(call_.thread_state);
        call_.abandoned = false;
        call_.thread_state = nullptr;
    }

    call &call_;
};

}  // namespace llamacffi
