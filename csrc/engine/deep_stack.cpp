// See deep_stack.h.
#include "deep_stack.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#endif
#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

namespace llamacffi {

thread_hooks deep_stack_hooks;

namespace {

constexpr auto between_looks = std::chrono::milliseconds(50);

struct deep_work {
    const std::function<void()> &work;
    void *record;
    std::exception_ptr thrown;
    std::atomic<bool> stop{false};
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
};

thread_local deep_work *own_work = nullptr;
thread_local char *lowest = nullptr;

char *ask_for_lowest() {
#ifdef _WIN32
    ULONG_PTR low, high;
    GetCurrentThreadStackLimits(&low, &high);
    return reinterpret_cast<char *>(low);
#elif defined(__APPLE__)
    return static_cast<char *>(pthread_get_stackaddr_np(pthread_self())) - pthread_get_stacksize_np(pthread_self());
#else
    pthread_attr_t attributes;
    void *address = nullptr;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) throw std::bad_alloc();
    pthread_attr_getstack(&attributes, &address, &size);
    pthread_attr_destroy(&attributes);
    return static_cast<char *>(address);
#endif
}

// However the thread ends: at the interpreter's end CPython unwinds it.
struct tells_end {
    deep_work &own;
    ~tells_end() {
        const std::lock_guard<std::mutex> lock(own.mutex);
        own.done = true;
        own.changed.notify_all();
    }
};

void run(deep_work &own) {
    const tells_end end{own};
    own_work = &own;
    if (deep_stack_hooks.set_record) deep_stack_hooks.set_record(own.record);
    try {
        own.work();
    }
#ifdef __GLIBCXX__
    catch (abi::__forced_unwind &) {
        own.thrown = std::make_exception_ptr(std::bad_alloc());
        throw;
    }
#endif
    catch (...) {
        own.thrown = std::current_exception();
    }
}

// Signals come to the threads of Python, which wait in `wait_for`.
void wait_for(deep_work &own) {
    std::unique_lock<std::mutex> lock(own.mutex);
    while (!own.changed.wait_for(lock, between_looks, [&] { return own.done; })) {
        lock.unlock();
        if (asked_to_stop()) own.stop = true;
        lock.lock();
    }
}

#ifdef _WIN32

DWORD WINAPI begin(void *own) {
    run(*static_cast<deep_work *>(own));
    return 0;
}

void do_on_thread(deep_work &own) {
    HANDLE thread = CreateThread(nullptr, deep_stack_size, begin, &own, STACK_SIZE_PARAM_IS_A_RESERVATION, nullptr);
    if (!thread) throw std::bad_alloc();
    wait_for(own);
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}

#else

void *begin(void *own) {
    run(*static_cast<deep_work *>(own));
    return nullptr;
}

void do_on_thread(deep_work &own) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, deep_stack_size);
    const int failed = pthread_create(&thread, &attributes, begin, &own);
    pthread_attr_destroy(&attributes);
    if (failed) throw std::bad_alloc();
    wait_for(own);
    pthread_join(thread, nullptr);
}

#endif

}  // namespace

char *lowest_of_stack() {
    if (!lowest) lowest = ask_for_lowest();
    return lowest;
}

bool is_on_deep_stack() { return own_work != nullptr; }

bool asked_to_stop() {
    if (own_work) return own_work->stop;
    return deep_stack_hooks.must_stop && deep_stack_hooks.must_stop();
}

void on_a_deep_stack(const std::function<void()> &work) {
    deep_work own{work, deep_stack_hooks.record ? deep_stack_hooks.record() : nullptr, nullptr};
    do_on_thread(own);
    if (own.thrown) std::rethrow_exception(own.thrown);
}

}  // namespace llamacffi
