// Thread-local variables of constant initial values: not C++'s thread_local, which would ask at each use whether the
// variable is initialized already.
#pragma once

#ifdef _MSC_VER
#define LLAMACFFI_THREAD_LOCAL __declspec(thread)
#elif defined(__APPLE__)
#define LLAMACFFI_THREAD_LOCAL __thread
#else
#define LLAMACFFI_THREAD_LOCAL __attribute__((tls_model("initial-exec"))) __thread
#endif
