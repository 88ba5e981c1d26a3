// See graph_guard.h. Compiled into ggml-cpu, beside waits.c.
#include "graph_guard.h"

#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

bool (*llamacffi_is_inside_call)(void) = nullptr;

struct llamacffi_failures {
    explicit llamacffi_failures(bool caught) : are_caught(caught) {}

    const bool are_caught;
    std::mutex mutex;  // of the rest; nothing that logs or calls Python runs while it is held
    std::condition_variable one_left;
    std::exception_ptr first;
    int n_left = 0;  // of the workers
};

namespace {

// Thrown by a thread that leaves its graph because of another one.
struct abandoned {};

thread_local const void *this_worker = nullptr;

// At the interpreter's end glibc unwinds a thread that waits for the GIL, as if it had thrown; that must go on, and the
// others must not wait for it.
std::exception_ptr thread_ended() {
    return std::make_exception_ptr(std::runtime_error("a thread that computed the graph has ended"));
}

void keep_first(llamacffi_failures &failures, const std::exception_ptr &failure) {
    if (!failures.first) failures.first = failure;
}

// The pool is left alone after the count: the thread that asked for the graph may free it then.
void leave(const void *worker, const std::exception_ptr &failure) {
    llamacffi_failures &failures = *llamacffi_failures_of(worker);
    const std::lock_guard<std::mutex> lock(failures.mutex);
    keep_first(failures, failure);
    llamacffi_abandon_of(worker);
    ++failures.n_left;
    failures.one_left.notify_one();
}

// The failure comes first: a thread that sees the mark has none of its own. The plan is on this thread's stack, and so
// nobody may be left in the graph.
void give_up(llamacffi_graph *graph, llamacffi_failures &failures, const std::exception_ptr &failure) {
    std::unique_lock<std::mutex> lock(failures.mutex);
    keep_first(failures, failure);
    llamacffi_abandon(graph);
    const int n_workers = llamacffi_workers_of(graph);
    failures.one_left.wait(lock, [&] { return failures.n_left == n_workers; });
    llamacffi_clear_abandoned(graph);
}

}  // namespace

void llamacffi_lack_memory() { throw std::bad_alloc(); }

void llamacffi_lack_thread(int started, int wanted, int code) {
    throw std::runtime_error("thread " + std::to_string(started + 1) + " of " + std::to_string(wanted) +
                             " could not be started (" + std::strerror(code) +
                             "): ask for fewer, or raise the limit on threads or on memory");
}

void llamacffi_guard_graph(llamacffi_graph *graph) {
    llamacffi_failures failures(llamacffi_is_inside_call && llamacffi_is_inside_call());
    try {
        return llamacffi_compute(graph, &failures);
#ifdef __GLIBCXX__
    } catch (abi::__forced_unwind &) {
        give_up(graph, failures, thread_ended());
        throw;
#endif
    } catch (const abandoned &) {
        give_up(graph, failures, nullptr);
    } catch (...) {
        give_up(graph, failures, std::current_exception());
    }
    std::rethrow_exception(failures.first);
}

bool llamacffi_guard_worker(void *worker) {
    this_worker = worker;
    try {
        llamacffi_work(worker);
        return true;
#ifdef __GLIBCXX__
    } catch (abi::__forced_unwind &) {
        leave(worker, thread_ended());
        throw;
#endif
    } catch (const abandoned &) {
        leave(worker, nullptr);
    } catch (...) {
        leave(worker, std::current_exception());
    }
    return false;
}

void llamacffi_leave_graph() { throw abandoned(); }

bool llamacffi_graph_catches() { return this_worker && llamacffi_failures_of(this_worker)->are_caught; }
