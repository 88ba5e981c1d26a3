// Compiled into llama.cpp's library: see stderr_log.h.
#include <cstdarg>
#include <cstdio>
#include <string>

#include "llama.h"

int llamacffi_print_error(FILE *stream, const char *format, ...);

int llamacffi_print_error(FILE *stream, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = std::vsnprintf(nullptr, 0, format, arguments);
    std::string text(length > 0 ? static_cast<size_t>(length) + 1 : 1, '\0');
    std::vsnprintf(&text[0], text.size(), format, again);
    va_end(again);
    va_end(arguments);
    if (stream != stderr) return std::fputs(text.c_str(), stream);
    ggml_log_callback callback = nullptr;
    void *user_data = nullptr;
    llama_log_get(&callback, &user_data);
    callback(GGML_LOG_LEVEL_ERROR, text.c_str(), user_data);
    return length;
}
