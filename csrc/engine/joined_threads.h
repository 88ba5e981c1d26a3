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
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ggml.h"

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

// A type that the caller has chosen for a tensor whose rows are no whole blocks of it would be written beyond the
// buffer.
inline size_t quantize_whole_blocks(ggml_type type, const float *src, void *dst, int64_t start, int64_t n_rows,
                                    int64_t n_per_row, const float *imatrix) {
    if (n_per_row % ggml_blck_size(type) != 0)
        throw std::invalid_argument("a tensor's rows of " + std::to_string(n_per_row) +
                                    " numbers are no whole blocks of " + ggml_type_name(type));
    return ggml_quantize_chunk(type, src, dst, start, n_rows, n_per_row, imatrix);
}

}  // namespace llamacffi

// `std::thread`, as upstream spells it. Must be a macro: it renames what upstream uses.
#ifdef LLAMACFFI_JOINS_THREADS
namespace std {
using llamacffi_joined_thread = llamacffi::joined_thread;
}
#define thread llamacffi_joined_thread
#endif

// Must be a macro: upstream names the function.
#define ggml_quantize_chunk llamacffi::quantize_whole_blocks
