// See fork.h.
#include "engine/fork.h"

#include <mutex>
#ifndef _WIN32
#include <pthread.h>
#endif

#include "checks/handle_table.h"
#include "checks/ownership.h"
#include "checks/threads.h"
#include "convert/results.h"
#include "core/border_lock.h"
#include "core/callbacks.h"
#include "core/guard.h"
#include "engine/contexts.h"
#include "engine/deep_stack.h"
#include "engine/first_uses.h"
#include "engine/logs.h"
#include "engine/states.h"
#include "engine/threads.h"
#include "ggml-threading.h"

namespace llamacffi {

namespace {

// No other thread may hold one of these while the process is copied: it would not exist in the child to unlock it. They
// are taken in this order, which docs/architecture.md tells.
std::mutex *const all_mutexes[] = {&abort_mutex, &states_mutex, &callbacks_mutex, &waiting_mutex};

// First what is held while another is taken: static variables of llama.cpp are made with ggml's own lock, which each
// ggml_init takes, and anything of ggml's may log.
void lock_all() {
    lock_first_uses();
    ggml_critical_section_start();
    for (std::mutex *one : all_mutexes) one->lock();
    lock_ownership();
    lock_threads();
}

void unlock_all() {
    unlock_threads();
    unlock_ownership();
    for (std::mutex *one : all_mutexes) one->unlock();
    ggml_critical_section_end();
    unlock_first_uses();
}

// In the child, with Python in order again: the other threads are gone, and with them what they were inside of and the
// workers of the thread pools.
void forget_other_threads() {
    static constexpr function_row fork{{type_kind::VOID, 0, 0, false, ""}, "os.fork", "", nullptr};
    forget_makers();
    forget_users();
    forget_threads();
    for (const attachment &one : all_attachments()) {
        if (one.slot >= 0) continue;  // a sampler
        forget_user_pool(static_cast<llama_context *>(const_cast<void *>(one.context)),
                         static_cast<ggml_threadpool *>(const_cast<void *>(one.address)));
        attach(one.context, one.slot, nullptr);
    }
    handles.for_each([](handle &one) {
        if (one.kind != kind_of_ggml_threadpool) return;
        one.life = life::FREED;
        one.freed_by = &fork;
    });
}

PyObject *after_fork(PyObject *, PyObject *) {
    const border_lock lock;
    forget_other_threads();
    return none();
}

PyMethodDef after_fork_method = {"after_fork", after_fork, METH_NOARGS, "Forget the threads of the parent."};

}  // namespace

bool register_at_fork() {
    PyObject *os = PyImport_ImportModule("os");
    PyObject *enroll = os ? PyObject_GetAttrString(os, "register_at_fork") : nullptr;
    PyErr_Clear();
    PyObject *function = enroll ? PyCFunction_NewEx(&after_fork_method, nullptr, nullptr) : nullptr;
    PyObject *named = function ? Py_BuildValue("{sO}", "after_in_child", function) : nullptr;
    PyObject *done = named ? PyObject_Call(enroll, empty_tuple, named) : nullptr;
    const bool good = done || !enroll;
    for (PyObject *one : {os, enroll, function, named, done}) Py_XDECREF(one);
    return good;
}

void take_over() {
    llama_log_set(log_sink, nullptr);
    mtmd_helper_log_set(media_log_sink, nullptr);  // mtmd's own as well
    catch_assertions();
    deep_stack_hooks = {[] { return static_cast<void *>(current); },
                        [](void *record) { current = static_cast<call *>(record); }, must_stop};
#ifndef _WIN32
    pthread_atfork(lock_all, unlock_all, unlock_all);
#endif
}

}  // namespace llamacffi
