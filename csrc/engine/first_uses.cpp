// See first_uses.h. llama.cpp's registry of backends takes some milliseconds, and so do its tables of Unicode.
#include "engine/first_uses.h"

#ifdef LLAMACFFI_FIRST_USES

#include <atomic>
#include <chrono>
#include <thread>

namespace llamacffi {

namespace {

// Who makes something may have to log for that, into Python, whose lock a thread that forks holds.
constexpr int most_looks = 1000;  // with a millisecond between them

std::atomic_flag gate = ATOMIC_FLAG_INIT;  // whoever begins goes through it
std::atomic<int> makers{0};
thread_local int depth = 0;        // of what this thread makes: one may need another
thread_local bool closed = false;  // the gate, by this thread

// Not for ever: who waits here may hold what the other one waits for next.
bool close_gate() {
    for (int i = 0; i < most_looks; ++i) {
        if (!gate.test_and_set(std::memory_order_acquire)) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
}

void open_gate() { gate.clear(std::memory_order_release); }

void begin() {
    if (depth++) return;
    const bool locked = close_gate();
    ++makers;
    if (locked) open_gate();
}

void end() {
    if (--depth == 0) --makers;
}

int own() { return depth > 0; }

}  // namespace

void lock_first_uses() {
    closed = close_gate();
    for (int i = 0; makers > own() && i < most_looks; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ++depth;  // what this thread makes from here on does not go through the gate
}

void unlock_first_uses() {
    --depth;
    if (closed) open_gate();
}

void forget_makers() { makers = own(); }

}  // namespace llamacffi

extern "C" {

int __real___cxa_guard_acquire(void *guard);
void __real___cxa_guard_release(void *guard);
void __real___cxa_guard_abort(void *guard);

// 0 where another thread has made it meanwhile.
int __wrap___cxa_guard_acquire(void *guard) {
    llamacffi::begin();
    const int is_ours = __real___cxa_guard_acquire(guard);
    if (!is_ours) llamacffi::end();
    return is_ours;
}

void __wrap___cxa_guard_release(void *guard) {
    __real___cxa_guard_release(guard);
    llamacffi::end();
}

void __wrap___cxa_guard_abort(void *guard) {
    __real___cxa_guard_abort(guard);
    llamacffi::end();
}
}

#else

namespace llamacffi {

void lock_first_uses() {}

void unlock_first_uses() {}

void forget_makers() {}

}  // namespace llamacffi

#endif
