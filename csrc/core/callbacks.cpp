// See callbacks.h.
#include "core/callbacks.h"

#include <chrono>
#include <ctime>

#include "core/call.h"
#include "core/errors.h"
#include "engine/deep_stack.h"

namespace llamacffi {

namespace {

// Hand the exception that is set to the call which runs this callback; without one it is reported and dropped.
void hand_over_exception() {
    if (!current) return PyErr_WriteUnraisable(nullptr);
    PyObject *exception = take_exception();
    current->callback_failed(exception);
    Py_XDECREF(exception);
}

// Between ctypes and the function of the user no Python code runs: a signal that came during the call would be
// handled there, outside of any `try`.
PyObject *call_guarded(PyObject *self, PyObject *arguments) {
    PyObject *result = PyObject_Call(PyTuple_GetItem(self, 0), arguments, nullptr);
    if (result) return result;
    hand_over_exception();
    PyObject *stop = PyTuple_GetItem(self, 1);
    Py_INCREF(stop);
    return stop;
}

PyMethodDef guarded_method = {"callback", call_guarded, METH_VARARGS, "A callback whose exceptions reach the call."};

constexpr auto between_signal_checks = std::chrono::milliseconds(50);

}  // namespace

std::chrono::nanoseconds coarse_time() {
#ifdef CLOCK_MONOTONIC_COARSE
    timespec time{};
    if (clock_gettime(CLOCK_MONOTONIC_COARSE, &time) == 0)
        return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
#endif
    return std::chrono::steady_clock::now().time_since_epoch();
}

namespace {

// Run Python's signal handlers.
void check_signals(call &c) {
    static thread_local std::chrono::nanoseconds last{};
    const std::chrono::nanoseconds time = coarse_time();
    if (time - last < between_signal_checks) return;
    last = time;
    PyEval_RestoreThread(c.thread_state);
    if (PyErr_CheckSignals() < 0) {
        PyObject *exception = take_exception();
        c.callback_failed(exception);
        Py_XDECREF(exception);
    }
    c.thread_state = PyEval_SaveThread();
}

}  // namespace

PyObject *guarded(PyObject *, PyObject *function_and_stop) {
    return PyCFunction_NewEx(&guarded_method, function_and_stop, nullptr);
}

std::mutex callbacks_mutex;

namespace {

// Without an interpreter, or while it ends, the object is left as it is.
void let_go(PyObject *object) {
    if (!Py_IsInitialized()) return;
    const PyGILState_STATE state = PyGILState_Ensure();
    Py_DECREF(object);
    PyGILState_Release(state);
}

}  // namespace

std::shared_ptr<PyObject> held_argument(const call *c, unsigned position) {
    if (!c) return nullptr;
    Py_INCREF(c->arguments[position]);
    return std::shared_ptr<PyObject>(c->arguments[position], let_go);
}

bool must_stop() {
    call *const c = current;
    if (!c || c->is_to_stop()) return c != nullptr;
    if (is_on_deep_stack()) return asked_to_stop();  // the thread that waits for this one has the signals
    if (c->thread_state) check_signals(*c);
    return c->is_to_stop();
}

}  // namespace llamacffi
