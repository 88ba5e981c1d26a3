// Loaded before the address sanitizer's runtime, for what that does otherwise than C++ and CPython expect.
#include <dlfcn.h>

#include <cstdlib>
#include <new>

// ---------------------------------------------------------------- memory

// The sanitizer's own `new` ends the process where there is no memory; this one throws. Its malloc is the sanitizer's.
void *operator new(size_t size, const std::nothrow_t &) noexcept { return std::malloc(size ? size : 1); }

void *operator new(size_t size) {
    if (void *memory = operator new(size, std::nothrow)) return memory;
    throw std::bad_alloc();
}

void *operator new[](size_t size) { return operator new(size); }
void *operator new[](size_t size, const std::nothrow_t &) noexcept { return operator new(size, std::nothrow); }

void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t) noexcept { std::free(memory); }
void operator delete(void *memory, const std::nothrow_t &) noexcept { std::free(memory); }
void operator delete[](void *memory) noexcept { std::free(memory); }
void operator delete[](void *memory, size_t) noexcept { std::free(memory); }
void operator delete[](void *memory, const std::nothrow_t &) noexcept { std::free(memory); }

// ---------------------------------------------------------------- threads

extern "C" void __asan_handle_no_return();

// CPython ends its threads like this at the interpreter's end, from inside of our frames. It is not instrumented, so
// nobody tells the sanitizer that these frames are left.
extern "C" [[noreturn]] void pthread_exit(void *result) {
    static const auto leave = reinterpret_cast<void (*)(void *)>(dlsym(RTLD_NEXT, "pthread_exit"));
    __asan_handle_no_return();
    leave(result);
    std::abort();  // which no call of it returns to
}
