// Refuse to load on a CPU that lacks what ggml was compiled for: the first matrix product would end the process
// with an illegal instruction.
#pragma once

#include "core/python.h"

#include "ggml-cpu.h"

namespace llamacffi {

#if defined(__x86_64__) && defined(__GNUC__)
#define LLAMACFFI_CPU(name, built) {name, built(), __builtin_cpu_supports(name) != 0}

static bool check_cpu() {
    __builtin_cpu_init();
    const struct {
        const char *name;
        int built;
        bool here;
    } features[] = {
        LLAMACFFI_CPU("ssse3", ggml_cpu_has_ssse3),
        LLAMACFFI_CPU("avx", ggml_cpu_has_avx),
        LLAMACFFI_CPU("avx2", ggml_cpu_has_avx2),
        LLAMACFFI_CPU("bmi2", ggml_cpu_has_bmi2),
        LLAMACFFI_CPU("fma", ggml_cpu_has_fma),
        LLAMACFFI_CPU("avx512f", ggml_cpu_has_avx512),
        LLAMACFFI_CPU("avx512vbmi", ggml_cpu_has_avx512_vbmi),
        LLAMACFFI_CPU("avx512vnni", ggml_cpu_has_avx512_vnni),
        LLAMACFFI_CPU("avx512bf16", ggml_cpu_has_avx512_bf16),
    };
    for (const auto &feature : features) {
        if (!feature.built || feature.here) continue;
        PyErr_Format(PyExc_ImportError,
                     "llamacffi was built for a CPU with %s, which this one lacks: build it on this machine, or with "
                     "CMAKE_ARGS=-DGGML_NATIVE=OFF",
                     feature.name);
        return false;
    }
    return true;
}
#undef LLAMACFFI_CPU
#else
static bool check_cpu() { return true; }
#endif

}  // namespace llamacffi
