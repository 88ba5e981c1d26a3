// See joined_threads.h. Compiled into libllama.
#include "joined_threads.h"

#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

namespace llamacffi {

namespace {

struct started_threads {
    std::mutex mutex;
    std::condition_variable one_ended;
    int running = 0;

    void add(int change) {
        const std::lock_guard<std::mutex> lock(mutex);
        running += change;
        one_ended.notify_all();
    }

    void wait() {
        std::unique_lock<std::mutex> lock(mutex);
        one_ended.wait(lock, [&] { return running == 0; });
    }
};

// Of this thread; it is not left before they have ended.
thread_local started_threads own;
thread_local bool is_joined = false;

struct counted {
    started_threads &starter;
    ~counted() { starter.add(-1); }
};

void run(const std::function<void()> &function, std::exception_ptr &failure, started_threads &starter) {
    const counted until_the_end{starter};
    is_joined = true;
    try {
        function();
#ifdef __GLIBCXX__
    } catch (abi::__forced_unwind &) {  // the interpreter's end
        throw;
#endif
    } catch (...) {
        failure = std::current_exception();
    }
}

}  // namespace

bool is_joined_thread() { return is_joined; }

void wait_for_joined_threads() { own.wait(); }

std::thread joined_thread::start(std::function<void()> function, std::shared_ptr<std::exception_ptr> failure) {
    started_threads &starter = own;
    starter.add(1);
    try {
        return std::thread([function, failure, &starter] { run(function, *failure, starter); });
    } catch (...) {
        starter.add(-1);
        starter.wait();
        throw;
    }
}

void joined_thread::join() {
    thread_.join();
    if (!*failure_) return;
    wait_for_joined_threads();
    std::rethrow_exception(std::exchange(*failure_, nullptr));
}

}  // namespace llamacffi
