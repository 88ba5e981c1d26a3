// Included before llama.cpp's llama-quant.cpp: its threads, made to hand over what is thrown in them.
//
// A file's numbers can make an assertion fail while it is quantized, on any of the threads. On one that upstream has
// started nothing would catch it; on the calling one it would destroy what the others use, and then these, unjoined. So
// nothing is thrown before all have ended, and what one of them threw comes out of `join`.
#pragma once

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <regex>
#include <string>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace llamacffi {

// Whether this thread is such a one: what is thrown here is caught.
bool is_joined_thread();

// Wait until the threads that this one has started are at their end.
void wait_for_joined_threads();

class joined_thread {
  public:
    template <typename Function, typename... Arguments>
    explicit joined_thread(Function function, Arguments... arguments)
        : failure_(std::make_shared<std::exception_ptr>()),
          thread_(start([function, arguments...] { function(arguments...); }, failure_)) {}
    joined_thread(joined_thread &&) = default;

    ~joined_thread() {
        if (thread_.joinable()) thread_.join();
    }

    void join();

    static unsigned hardware_concurrency() { return std::thread::hardware_concurrency(); }

  private:
    static std::thread start(std::function<void()> function, std::shared_ptr<std::exception_ptr> failure);

    std::shared_ptr<std::exception_ptr> failure_;
    std::thread thread_;
};

}  // namespace llamacffi

// `std::thread`, as upstream spells it. Must be a macro: it renames what upstream uses.
#ifdef LLAMACFFI_JOINS_THREADS
namespace std {
using llamacffi_joined_thread = llamacffi::joined_thread;
}
#define thread llamacffi_joined_thread
#endif
