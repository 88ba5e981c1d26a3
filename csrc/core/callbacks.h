// Exceptions of callbacks, and Ctrl-C, on their way to the call that is running.
//
// The way of an exception out of a Python callback is told in src/llamacffi/ctypes_types.py.
#pragma once

#include "core/python.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>

#include "core/call.h"

namespace llamacffi {

// guarded(function, stop): wrap a callback; what it raises comes out of the call, and C gets `stop`.
PyObject *guarded(PyObject *, PyObject *function_and_stop);

// Whether the call should come to its end: a callback raised, or Ctrl-C was pressed. Called in C, on the thread of
// the call, where llama.cpp can stop.
bool must_stop();

// A clock of a few milliseconds that costs next to nothing, where there is one.
std::chrono::nanoseconds coarse_time();

// ---------------------------------------------------------------- callbacks that can be replaced at any time

extern std::mutex callbacks_mutex;  // of all slots, and of what callbacks raised; nothing is called while it is held

// The Python object behind a callback, which lives until the last lets go of it, on whatever thread.
std::shared_ptr<PyObject> held_argument(const call *c, unsigned position);

template <typename Function>
struct user_callback {
    Function function = nullptr;
    void *data = nullptr;
    std::shared_ptr<PyObject> object;  // whoever is inside of the function holds it
};

// A callback of the user's that code of ours calls. One that is replaced while a thread is inside lives until that is
// out.
template <typename Function>
class callback_slot {
  public:
    callback_slot() = default;
    callback_slot(Function function, void *data) : is_set_(function != nullptr), now_{function, data, nullptr} {}

    // The last one; `position` is the function's among the call's arguments, and the GIL is held if there is a call.
    user_callback<Function> set(const call *c, unsigned position, Function function, void *data) {
        user_callback<Function> other{function, data, function ? held_argument(c, position) : nullptr};
        const std::lock_guard<std::mutex> lock(callbacks_mutex);
        std::swap(now_, other);
        is_set_ = function != nullptr;
        return other;
    }

    bool is_set() const { return is_set_.load(std::memory_order_relaxed); }

    user_callback<Function> get() const {
        if (!is_set()) return {};
        const std::lock_guard<std::mutex> lock(callbacks_mutex);
        return now_;
    }

  private:
    std::atomic<bool> is_set_{false};
    user_callback<Function> now_;
};

}  // namespace llamacffi
