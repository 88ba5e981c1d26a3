/* Included before mtmd-helper.cpp: how much may come out of a file. A small file can say that it holds more than any
 * machine has, and what is decoded is three bytes a pixel and four a sample.
 *
 * Upstream's file stays as it is: what it includes is included here first, and then some function names are macros.
 * The word behind LLAMACFFI_LOAD_ is the one that a use of the name begins with, a type in the definition and the first
 * argument in the call. */
#pragma once

#include <climits>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#define MINIAUDIO_IMPLEMENTATION
#define MA_NO_ENCODING
#define MA_NO_DEVICE_IO
#define MA_NO_RESOURCE_MANAGER
#define MA_NO_NODE_GRAPH
#define MA_NO_ENGINE
#define MA_NO_GENERATION
#define MA_API static
#include "miniaudio/miniaudio.h"
#include "stb/stb_image.h"

namespace llamacffi {

constexpr int most_pixels = 1 << 27;              // 11585 x 11585
constexpr ma_uint64 most_samples = 1 << 27;       // 2.3 hours at 16 kHz
constexpr size_t most_decoded = size_t{1} << 30;  // as many pixels of 4 channels of 16 bits

// stb_image takes NULL for an answer.
inline void *decoder_malloc(size_t size) { return size > most_decoded ? nullptr : std::malloc(size); }

inline void *decoder_realloc(void *memory, size_t size) {
    return size > most_decoded ? nullptr : std::realloc(memory, size);
}

inline stbi_uc *refuse_pixels() {
    throw std::invalid_argument("the image has more than " + std::to_string(most_pixels) + " pixels: scale it down");
}

// Longer than an int says is only a video. stb_image has a limit of its own, which is larger.
inline stbi_uc *load_image(const unsigned char *data, size_t size, int *width, int *height, int *channels, int wanted) {
    if (size > INT_MAX) return nullptr;
    const int length = static_cast<int>(size);
    const bool known = stbi_info_from_memory(data, length, width, height, channels);
    if (known && *height > 0 && *width > most_pixels / *height) return refuse_pixels();
    stbi_uc *pixels = stbi_load_from_memory(data, length, width, height, channels, wanted);
    return pixels || std::strcmp(stbi_failure_reason(), "too large") != 0 ? pixels : refuse_pixels();
}

inline ma_result length_in_frames(ma_decoder *decoder, ma_uint64 *frames) {
    const ma_result answer = ma_decoder_get_length_in_pcm_frames(decoder, frames);
    if (answer != MA_SUCCESS || *frames <= most_samples) return answer;
    ma_decoder_uninit(decoder);
    throw std::invalid_argument("the sound has more than " + std::to_string(most_samples) + " samples: cut it");
}

}  // namespace llamacffi

#define STBI_MAX_DIMENSIONS 65535
#define STBI_MALLOC(size) llamacffi::decoder_malloc(size)
#define STBI_REALLOC(memory, size) llamacffi::decoder_realloc(memory, size)
#define STBI_FREE(memory) std::free(memory)
#define LLAMACFFI_LOAD_stbi_uc stbi_load_from_memory(stbi_uc
#define LLAMACFFI_LOAD_buf llamacffi::load_image(buf
#define stbi_load_from_memory(...) LLAMACFFI_LOAD_##__VA_ARGS__)
#define ma_decoder_get_length_in_pcm_frames llamacffi::length_in_frames
