// What a CPU can have beyond the least of its family: by which macro a compiler says that it uses it, and where the CPU
// says that it has it. The one table of this: engine/cpu_needs.cpp has what a level of ggml-cpu was compiled for, out
// of the macros, and core/cpu_levels.cpp compares it with the CPU.
//
// It holds what compilers use unasked; what only intrinsics use, and ggml does not, is left out.
#pragma once

#include <stdint.h>

#if defined(__x86_64__) || defined(_M_X64)

enum { LLAMACFFI_EAX, LLAMACFFI_EBX, LLAMACFFI_ECX, LLAMACFFI_EDX };

// Parts of a thread's state that the system must save (XCR0).
enum {
    LLAMACFFI_NONE = 0,
    LLAMACFFI_YMM = 0x6,
    LLAMACFFI_ZMM = 0xe6,
    LLAMACFFI_TILES = 0x600e6,
    LLAMACFFI_EGPR = 0x80000
};

// Must be a macro: a list to be expanded where it is needed. FEATURE(name, macro, leaf, subleaf, register, bit, state)
#define LLAMACFFI_CPU_FEATURES(FEATURE)                                                     \
    FEATURE("sse3", __SSE3__, 1, 0, LLAMACFFI_ECX, 0, LLAMACFFI_NONE)                       \
    FEATURE("ssse3", __SSSE3__, 1, 0, LLAMACFFI_ECX, 9, LLAMACFFI_NONE)                     \
    FEATURE("fma", __FMA__, 1, 0, LLAMACFFI_ECX, 12, LLAMACFFI_YMM)                         \
    FEATURE("sse4.1", __SSE4_1__, 1, 0, LLAMACFFI_ECX, 19, LLAMACFFI_NONE)                  \
    FEATURE("sse4.2", __SSE4_2__, 1, 0, LLAMACFFI_ECX, 20, LLAMACFFI_NONE)                  \
    FEATURE("movbe", __MOVBE__, 1, 0, LLAMACFFI_ECX, 22, LLAMACFFI_NONE)                    \
    FEATURE("popcnt", __POPCNT__, 1, 0, LLAMACFFI_ECX, 23, LLAMACFFI_NONE)                  \
    FEATURE("avx", __AVX__, 1, 0, LLAMACFFI_ECX, 28, LLAMACFFI_YMM)                         \
    FEATURE("f16c", __F16C__, 1, 0, LLAMACFFI_ECX, 29, LLAMACFFI_YMM)                       \
    FEATURE("bmi", __BMI__, 7, 0, LLAMACFFI_EBX, 3, LLAMACFFI_NONE)                         \
    FEATURE("avx2", __AVX2__, 7, 0, LLAMACFFI_EBX, 5, LLAMACFFI_YMM)                        \
    FEATURE("bmi2", __BMI2__, 7, 0, LLAMACFFI_EBX, 8, LLAMACFFI_NONE)                       \
    FEATURE("avx512f", __AVX512F__, 7, 0, LLAMACFFI_EBX, 16, LLAMACFFI_ZMM)                 \
    FEATURE("avx512dq", __AVX512DQ__, 7, 0, LLAMACFFI_EBX, 17, LLAMACFFI_ZMM)               \
    FEATURE("avx512ifma", __AVX512IFMA__, 7, 0, LLAMACFFI_EBX, 21, LLAMACFFI_ZMM)           \
    FEATURE("avx512cd", __AVX512CD__, 7, 0, LLAMACFFI_EBX, 28, LLAMACFFI_ZMM)               \
    FEATURE("avx512bw", __AVX512BW__, 7, 0, LLAMACFFI_EBX, 30, LLAMACFFI_ZMM)               \
    FEATURE("avx512vl", __AVX512VL__, 7, 0, LLAMACFFI_EBX, 31, LLAMACFFI_ZMM)               \
    FEATURE("avx512vbmi", __AVX512VBMI__, 7, 0, LLAMACFFI_ECX, 1, LLAMACFFI_ZMM)            \
    FEATURE("avx512vbmi2", __AVX512VBMI2__, 7, 0, LLAMACFFI_ECX, 6, LLAMACFFI_ZMM)          \
    FEATURE("gfni", __GFNI__, 7, 0, LLAMACFFI_ECX, 8, LLAMACFFI_NONE)                       \
    FEATURE("avx512vnni", __AVX512VNNI__, 7, 0, LLAMACFFI_ECX, 11, LLAMACFFI_ZMM)           \
    FEATURE("avx512bitalg", __AVX512BITALG__, 7, 0, LLAMACFFI_ECX, 12, LLAMACFFI_ZMM)       \
    FEATURE("avx512vpopcntdq", __AVX512VPOPCNTDQ__, 7, 0, LLAMACFFI_ECX, 14, LLAMACFFI_ZMM) \
    FEATURE("avx512fp16", __AVX512FP16__, 7, 0, LLAMACFFI_EDX, 23, LLAMACFFI_ZMM)           \
    FEATURE("amx-bf16", __AMX_BF16__, 7, 0, LLAMACFFI_EDX, 22, LLAMACFFI_TILES)             \
    FEATURE("amx-tile", __AMX_TILE__, 7, 0, LLAMACFFI_EDX, 24, LLAMACFFI_TILES)             \
    FEATURE("amx-int8", __AMX_INT8__, 7, 0, LLAMACFFI_EDX, 25, LLAMACFFI_TILES)             \
    FEATURE("avxvnni", __AVXVNNI__, 7, 1, LLAMACFFI_EAX, 4, LLAMACFFI_YMM)                  \
    FEATURE("avx512bf16", __AVX512BF16__, 7, 1, LLAMACFFI_EAX, 5, LLAMACFFI_ZMM)            \
    FEATURE("avxifma", __AVXIFMA__, 7, 1, LLAMACFFI_EAX, 23, LLAMACFFI_YMM)                 \
    FEATURE("avxvnniint8", __AVXVNNIINT8__, 7, 1, LLAMACFFI_EDX, 4, LLAMACFFI_YMM)          \
    FEATURE("avxneconvert", __AVXNECONVERT__, 7, 1, LLAMACFFI_EDX, 5, LLAMACFFI_YMM)        \
    FEATURE("avxvnniint16", __AVXVNNIINT16__, 7, 1, LLAMACFFI_EDX, 10, LLAMACFFI_YMM)       \
    FEATURE("apxf", __APX_F__, 7, 1, LLAMACFFI_EDX, 21, LLAMACFFI_EGPR)                     \
    FEATURE("lzcnt", __LZCNT__, 0x80000001, 0, LLAMACFFI_ECX, 5, LLAMACFFI_NONE)            \
    FEATURE("sse4a", __SSE4A__, 0x80000001, 0, LLAMACFFI_ECX, 6, LLAMACFFI_NONE)            \
    FEATURE("xop", __XOP__, 0x80000001, 0, LLAMACFFI_ECX, 11, LLAMACFFI_YMM)                \
    FEATURE("fma4", __FMA4__, 0x80000001, 0, LLAMACFFI_ECX, 16, LLAMACFFI_YMM)              \
    FEATURE("tbm", __TBM__, 0x80000001, 0, LLAMACFFI_ECX, 21, LLAMACFFI_NONE)

#elif defined(__aarch64__) && defined(__linux__)

// Must be a macro, as above. FEATURE(name, macro, entry of the auxiliary vector, bit), as Linux's <asm/hwcap.h> has
// them.
enum { LLAMACFFI_HWCAP = 16, LLAMACFFI_HWCAP2 = 26 };
#define LLAMACFFI_CPU_FEATURES(FEATURE)                                         \
    FEATURE("crc32", __ARM_FEATURE_CRC32, LLAMACFFI_HWCAP, 7)                   \
    FEATURE("lse", __ARM_FEATURE_ATOMICS, LLAMACFFI_HWCAP, 8)                   \
    FEATURE("fp16", __ARM_FEATURE_FP16_VECTOR_ARITHMETIC, LLAMACFFI_HWCAP, 10)  \
    FEATURE("rdm", __ARM_FEATURE_QRDMX, LLAMACFFI_HWCAP, 12)                    \
    FEATURE("jscvt", __ARM_FEATURE_JCVT, LLAMACFFI_HWCAP, 13)                   \
    FEATURE("fcma", __ARM_FEATURE_COMPLEX, LLAMACFFI_HWCAP, 14)                 \
    FEATURE("rcpc", __ARM_FEATURE_RCPC, LLAMACFFI_HWCAP, 15)                    \
    FEATURE("dotprod", __ARM_FEATURE_DOTPROD, LLAMACFFI_HWCAP, 20)              \
    FEATURE("sve", __ARM_FEATURE_SVE, LLAMACFFI_HWCAP, 22)                      \
    FEATURE("fp16fml", __ARM_FEATURE_FP16_FML, LLAMACFFI_HWCAP, 23)             \
    FEATURE("sve2", __ARM_FEATURE_SVE2, LLAMACFFI_HWCAP2, 1)                    \
    FEATURE("frint", __ARM_FEATURE_FRINT, LLAMACFFI_HWCAP2, 8)                  \
    FEATURE("i8mm", __ARM_FEATURE_MATMUL_INT8, LLAMACFFI_HWCAP2, 13)            \
    FEATURE("bf16", __ARM_FEATURE_BF16_VECTOR_ARITHMETIC, LLAMACFFI_HWCAP2, 14) \
    FEATURE("sme", __ARM_FEATURE_SME, LLAMACFFI_HWCAP2, 23)

#else

#define LLAMACFFI_CPU_FEATURES(FEATURE)

#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What ggml-cpu was compiled for: a bit for each feature, in the table's order (engine/cpu_needs.cpp). */
extern const uint64_t llamacffi_cpu_needs;

#ifdef __cplusplus
}
#endif
