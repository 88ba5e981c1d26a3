// Thread-local variables of constant initial values: not C++'s thread_local, which would ask at each use whether the
// variable is initialized already. Not of the initial-exec model, which is faster by a call: then all thread-local
// memory of the extension would have to fit into what glibc keeps for such libraries, and ggml's AMX functions have 67
// kB of it.
#pragma once

#ifdef _MSC_VER
#define LLAMACFFI_THREAD_LOCAL __declspec(thread)
#else
#define LLAMACFFI_THREAD_LOCAL __thread
#endif
