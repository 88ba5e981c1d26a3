/* Included before llama.cpp's few files that print their errors straight to stderr: the text goes to the log
 * callback instead, so that it can be routed, kept and shown like any other error. */
#pragma once

#include <cstdio>

int llamacffi_print_error(FILE *stream, const char *format, ...);

#define fprintf llamacffi_print_error
