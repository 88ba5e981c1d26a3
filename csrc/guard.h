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

#include "call.h"
#include "callbacks.h"
#include "errors.h"
#include "handles.h"
#include "logs.h"

namespace llamacffi {

static ggml_abort_callback_t user_abort_callback;

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
        handle *context = breaks_context(c.what) ? handles.find(c.owner) : nullptr;
        if (context) context->is = state::BROKEN;  // its graph and its cache are in no known state
        PyErr_SetString(LlamaAssertionError, with_log(c, failed.message.c_str()).c_str());
    } catch (const std::bad_alloc &) {
        PyErr_SetString(PyExc_MemoryError, with_log(c, "out of memory").c_str());
    } catch (const std::invalid_argument &error) {
        PyErr_SetString(LlamaValueError, with_log(c, error.what()).c_str());
    } catch (const std::out_of_range &error) {
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
        leave_handles(call_);
        finish_log(call_);
        if (!call_.pending) return true;
        raise_again(call_.pending);
        return false;
    }

    // The interpreter's end unwinds this thread: nothing of Python may be touched any more.
    void abandon() { call_.abandoned = true; }

    // Back in Python with an exception, out of a catch block.
    PyObject *failed() {
        take_gil();
        leave_handles(call_);
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
