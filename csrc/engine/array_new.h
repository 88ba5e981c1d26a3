// Included before llama.cpp's ggml-cpu.cpp, which expects of `new T[n]` that it gives NULL where there is no memory.
// C++'s own throws, and leaves a pointer to what was deleted before it; the backend would delete that once more.
#pragma once

#include <cctype>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace llamacffi {
// An object, since clang takes `new (type())` for the type of a function.
constexpr struct null_for_arrays {
} null_where_there_is_no_memory;
}  // namespace llamacffi

inline void *operator new(std::size_t size, llamacffi::null_for_arrays) { return ::operator new(size); }
inline void *operator new[](std::size_t size, llamacffi::null_for_arrays) noexcept {
    return ::operator new[](size, std::nothrow);
}

// Must be a macro: it changes what upstream writes.
#define new new (llamacffi::null_where_there_is_no_memory)
