// Recursion over text: how much of the stack is left, and a thread with a large stack for what needs more.
//
// Compiled into llama.cpp's library, whose files use it (text_recursion.h), so nothing of Python stands here: what the
// thread must have of the one that waits for it goes through `deep_stack_hooks`.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace llamacffi {

// A text that our limits refuse. No std::exception: llama.cpp's parser of grammars would swallow that.
struct refused_text {
    std::string reason;
};

// The stack of this thread is about to end; the work can be done again on a larger one.
struct no_room {};

// The system gives memory to what is touched, so it costs what is needed. As much as 180,000 nested groups of a
// grammar, or a match of a regular expression over half a million characters.
#ifdef __SANITIZE_ADDRESS__  // which does not clean up behind an exception that leaves more than 64 MiB of a stack
constexpr size_t deep_stack_size = size_t{60} << 20;
#else
constexpr size_t deep_stack_size = size_t{256} << 20;
#endif

// What functions need that do not ask again: formatting, logging.
constexpr size_t stack_margin = size_t{96} << 10;

char *lowest_of_stack();

inline size_t stack_left() {
    char here;
    char *const lowest = lowest_of_stack();
    return &here > lowest ? static_cast<size_t>(&here - lowest) : 0;
}

// Whether this thread was made by `on_a_deep_stack`.
bool is_on_deep_stack();

// Whether the call should come to its end: Ctrl-C was pressed, or a callback raised.
bool asked_to_stop();

// Do `work` on a thread with a stack of `deep_stack_size` while this one waits; what it throws is thrown here. Throws
// std::bad_alloc where there is no such thread to be had.
void on_a_deep_stack(const std::function<void()> &work);

// The record of the call, from thread to thread; and whether its thread was told to stop.
struct thread_hooks {
    void *(*record)() = nullptr;
    void (*set_record)(void *) = nullptr;
    bool (*must_stop)() = nullptr;
};

extern thread_hooks deep_stack_hooks;

template <typename Work>
auto deep_result(const char *reason, Work work) {
    if (is_on_deep_stack()) throw refused_text{reason};
    std::optional<decltype(work())> result;
    on_a_deep_stack([&] { result.emplace(work()); });
    return std::move(*result);
}

// Do `work`, which needs so many bytes of stack, where they are.
template <typename Work>
auto with_room(size_t needed, const char *reason, Work work) {
    return stack_left() >= needed ? work() : deep_result(reason, work);
}

// Do `work`, which throws `no_room` where the stack does not suffice, and once more where it does.
template <typename Work>
auto with_enough_room(const char *reason, Work work) {
    try {
        return work();
    } catch (const no_room &) {
    }
    return deep_result(reason, work);
}

}  // namespace llamacffi
