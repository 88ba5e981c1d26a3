// Into C and back: the GIL, C++ exceptions, failed assertions, and exceptions that callbacks left behind.
//
// `running` stands around each call of a C function. What C++ throws becomes a Python exception that begins with
// the function's name and ends with what llama.cpp logged during the call. A failed GGML_ASSERT calls
// `throw_assertion` before it aborts: on a thread that is inside a call it throws, and so ends up here as well; the
// same holds for the workers of a graph that such a thread computes (engine/graph_guard.h). On any other thread nothing
// can catch it, and the process ends as it would without us.
#pragma once

#include "core/python.h"

#include <type_traits>
#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

#include "checks/threads.h"
#include "core/call.h"

namespace llamacffi {

// Become llama.cpp's hook for failed assertions, for good.
void catch_assertions();

// The hook, and the one of the user, which it asks first.
void throw_assertion(const char *message);
ggml_abort_callback_t set_abort_message_callback(call *, ggml_abort_callback_t callback);

// At the interpreter's end glibc unwinds a thread that waits for the GIL, as if it had thrown; that must go on. A
// macro, since it is a catch block.
#ifdef __GLIBCXX__
#define LLAMACFFI_CATCH_UNWIND       \
    catch (abi::__forced_unwind &) { \
        run.abandon();               \
        throw;                       \
    }
#else
#define LLAMACFFI_CATCH_UNWIND
#endif

class running {
  public:
    explicit running(call &c, bool keeps_gil) : call_(c), innermost_(&current) {
        c.previous = *innermost_;
        *innermost_ = &c;
        if (keeps_gil) return;
        c.lock.leave();
        c.thread_state = PyEval_SaveThread();
    }

    // Back in Python: false when a callback left an exception, which is then raised.
    bool leave() {
        take_gil();
        leave_handles(call_);
        return (!call_.extras && !call_.pending) || settle();
    }

    // The interpreter's end unwinds this thread: nothing of Python may be touched any more.
    void abandon() { call_.abandoned = true; }

    // Back in Python with an exception, out of a catch block.
    PyObject *failed();

  private:
    bool settle();

    // At the interpreter's end CPython unwinds the thread here; nothing of Python may be touched after it.
    void take_gil() {
        *innermost_ = call_.previous;
        if (!call_.thread_state) return;
        call_.abandoned = true;
        PyEval_RestoreThread(call_.thread_state);
        call_.lock.enter();
        call_.abandoned = false;
        call_.thread_state = nullptr;
    }

    call &call_;
    call **innermost_;  // this thread's; its address is what costs
};

// Do something with the GIL that may or may not be held: in a function that stands in C's place, or that foreign code
// calls.
template <typename Act>
void with_gil(Act act) {
    if (!Py_IsInitialized()) return;
    const PyGILState_STATE state = PyGILState_Ensure();
    act();
    PyGILState_Release(state);
}

// Log what is being thrown, for a function that was called through its address; called inside a catch block.
void log_thrown(const char *function);

// Call one of our functions in C's place for foreign code, which has no record and catches nothing: what is thrown is
// logged, and the answer is `failure`, NULL or nothing.
template <typename Result, typename... Parameters, typename... Arguments>
Result direct(const char *function, int failure, Result (*own)(call *, Parameters...), Arguments... arguments) {
    try {
        return own(nullptr, arguments...);
    } catch (...) {
        log_thrown(function);
    }
    if constexpr (std::is_integral_v<Result>)
        return static_cast<Result>(failure);
    else
        return Result();
}

}  // namespace llamacffi
