/* Included before ggml's AMX kernels: what gcc's intrinsics for tiles forget to say, that they read memory.
 *
 * With gcc 12 the configuration of the tiles is never stored, but for its first eight bytes, before it is loaded, and
 * the first prompt ends the process. The tiles themselves are read in the same way. */
#pragma once

#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)

#include <immintrin.h>

/* Macros, as gcc's own are: a tile is named in the instruction. */
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg (%0)" : : "r"(config) : "memory")

#undef _tile_loadd
#define _tile_loadd(tile, base, stride) LLAMACFFI_LOAD_TILE(tile, base, stride)
#define LLAMACFFI_LOAD_TILE(tile, base, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(base), "r"(static_cast<long>(stride)) : "memory")

#endif
