/* Included before llama.cpp's unicode.cpp: where it would match a text with <regex>, which recurses by character, ours
 * does (watched_regex.h). The words behind LLAMACFFI_SPLIT_ are those that a use of the function's name begins with:
 * its definition, which is then not used, and its calls. */
#pragma once

#include "watched_regex.h"

#include "stderr_log.h"

#define LLAMACFFI_SPLIT_const llamacffi_unused_split(const
#define LLAMACFFI_SPLIT_text_collapsed llamacffi::split_text(text_collapsed
#define LLAMACFFI_SPLIT_wtext llamacffi::split_text(wtext
#define unicode_regex_split_stl(...) LLAMACFFI_SPLIT_##__VA_ARGS__)
