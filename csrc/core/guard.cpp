// See guard.h.
#include "core/guard.h"

#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include "checks/handle_table.h"
#include "core/callbacks.h"
#include "core/errors.h"
#include "engine/deep_stack.h"
#include "engine/joined_threads.h"
#include "engine/logs.h"
#include "engine/rpc_served.h"

#ifdef LLAMACFFI_OWN_WAITS
#include "engine/graph_guard.h"
#else  // libgomp's threads catch nothing
static bool (*llamacffi_is_inside_call)();
static bool llamacffi_graph_catches() { return false; }
#endif

namespace llamacffi {

LLAMACFFI_THREAD_LOCAL call *current = nullptr;

namespace {

callback_slot<ggml_abort_callback_t> user_abort_callback;

std::string with_log(const call &c, const char *text) {
    std::string message = std::string(c.function.name) + "(): " + text;
    if (c.extras && !c.extras->errors.empty()) message += "\nllama.cpp logged: " + c.extras->errors;
    return message;
}

// What an assertion stopped inside of its graph is in no known state: it can only be freed.
void break_computing(const call &c) {
    handle *computing = c.function.computes != nowhere ? handles.find(c.addresses[c.function.computes]) : nullptr;
    if (computing) computing->life = life::BROKEN;
}

// Translate what is being thrown; called inside a catch block, with the GIL held.
void set_exception(const call &c) {
    try {
        throw;
    } catch (const assertion_failed &failed) {
        break_computing(c);
        PyErr_SetString(LlamaAssertionError, with_log(c, failed.message.c_str()).c_str());
    } catch (const more_than_memory &error) {
        PyErr_SetString(PyExc_MemoryError, with_log(c, error.what()).c_str());
    } catch (const refused_text &refused) {
        PyErr_SetString(LlamaValueError, with_log(c, refused.reason.c_str()).c_str());
    } catch (const std::bad_alloc &) {
        PyErr_SetString(PyExc_MemoryError, with_log(c, "out of memory").c_str());
    } catch (const std::invalid_argument &error) {
        PyErr_SetString(LlamaValueError, with_log(c, error.what()).c_str());
    } catch (const std::out_of_range &) {  // whose text is the C++ library's
        PyErr_SetString(LlamaValueError, with_log(c, "a token, an index or a name is not there").c_str());
    } catch (const std::exception &error) {
        PyErr_SetString(LlamaError, with_log(c, error.what()).c_str());
    } catch (...) {
        PyErr_SetString(LlamaError, with_log(c, "an unknown C++ exception").c_str());
    }
}

}  // namespace

void throw_assertion(const char *message) {
    if (const auto user = user_abort_callback.get(); user.function) user.function(message);
    wait_for_joined_threads();
    if (current || is_joined_thread() || llamacffi_graph_catches()) throw assertion_failed{message};
    std::fprintf(stderr, "%s\n", message);
}

void catch_assertions() {
    ggml_set_abort_callback(throw_assertion);
    llamacffi_is_inside_call = [] { return current != nullptr; };
    log_lost_client = log_thrown;
}

ggml_abort_callback_t set_abort_message_callback(call *c, ggml_abort_callback_t callback) {
    return user_abort_callback.set(c, 0, callback, nullptr).function;
}

bool running::settle() {
    finish_log(call_);
    if (!call_.pending) return true;
    raise_again(call_.pending);
    return false;
}

PyObject *running::failed() {
    take_gil();
    leave_handles(call_);
    if (settle()) set_exception(call_);
    return nullptr;
}

void log_thrown(const char *function) {
    std::string message = std::string(function) + "(): ";
    try {
        throw;
    } catch (const assertion_failed &failed) {
        message += failed.message;
    } catch (const refused_text &refused) {
        message += refused.reason;
    } catch (const std::exception &error) {
        message += error.what();
    } catch (...) {
        message += "an unknown C++ exception";
    }
    log_sink(GGML_LOG_LEVEL_ERROR, (message + "\n").c_str(), nullptr);
}

}  // namespace llamacffi
