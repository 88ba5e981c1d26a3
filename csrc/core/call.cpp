// See call.h.
#include "core/call.h"

#include <memory>

namespace llamacffi {

std::atomic<unsigned> calls_that_failed{0};

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
