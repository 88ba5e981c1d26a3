// See call.h.
#include "core/call.h"

#include <memory>
#include <mutex>

#include "core/callbacks.h"

namespace llamacffi {

std::atomic<unsigned> calls_that_failed{0};

void call::callback_failed(PyObject *exception) {
    const std::lock_guard<std::mutex> lock_of_pending(callbacks_mutex);
    if (pending) return;
    Py_INCREF(exception);
    pending = exception;
    ++calls_that_failed;
}

bool call::is_to_stop() const {
    if (!calls_that_failed) return false;
    const std::lock_guard<std::mutex> lock_of_pending(callbacks_mutex);
    return pending;
}

void call::give_back() {
    if (pending) --calls_that_failed;
    const std::unique_ptr<call_extras> owned(extras);
    while (n_blocks) std::free(blocks[--n_blocks]);
    if (abandoned) return;
    lock.leave();
    while (n_views) PyBuffer_Release(&views[--n_views]);
    Py_XDECREF(pending);
    if (!extras) return;
    drop_released();
    for (const held_objects &one : extras->held) Py_DECREF(one.objects);
}

}  // namespace llamacffi
