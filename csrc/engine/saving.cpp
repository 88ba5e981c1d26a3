// See saving.h.
#include "engine/saving.h"

#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#ifdef __linux__
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fstream>
#endif

#include "engine/logs.h"
#include "engine/replaced_file.h"
#include "engine/weights.h"

namespace llamacffi {

namespace {

#ifdef __linux__

// A line is `begin-end rights offset major:minor inode path`, the device in hexadecimal.
bool is_mapped(const char *path) {
    struct stat file;
    if (stat(path, &file) || !S_ISREG(file.st_mode)) return false;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        unsigned on_major = 0, on_minor = 0;
        unsigned long long inode = 0;
        if (std::sscanf(line.c_str(), "%*s %*s %*s %x:%x %llu", &on_major, &on_minor, &inode) != 3) continue;
        if (inode == file.st_ino && on_major == major(file.st_dev) && on_minor == minor(file.st_dev)) return true;
    }
    return false;
}

#else

// Windows does not let a mapped file be cut off; macOS tells nobody which files are mapped.
bool is_mapped(const char *) { return false; }

#endif

void require_not_mapped(const char *path) {
    if (is_mapped(path))
        throw std::invalid_argument("a model that is in use has its memory in the file " + std::string(path) +
                                    ": write to another one, or free the model first");
}

// Writes a file and returns its size, or 0 where C could not.
using writer = std::function<size_t(const char *path)>;

size_t write_beside(const char *path, const writer &write) {
    replaced_file file(path);
    const size_t size = write(file.partial().c_str());
    if (size) file.put_in_place(size);
    return size;
}

// As C does it, what could not be written is told by the result and in the log.
size_t write_to(const char *path, const writer &write) {
    require_not_mapped(path);
    if (!is_replaceable(path)) return write(path);
    try {
        return write_beside(path, write);
    } catch (const not_written &error) {
        log_sink(GGML_LOG_LEVEL_ERROR, (std::string(error.what()) + "\n").c_str(), nullptr);
        return 0;
    }
}

size_t size_of(const gguf_context *ctx, bool only_meta) {
    const size_t metadata = gguf_get_meta_size(ctx);
    const int64_t last = gguf_get_n_tensors(ctx) - 1;
    if (only_meta || last < 0) return metadata;
    return metadata + gguf_get_tensor_offset(ctx, last) + gguf_get_tensor_size(ctx, last);
}

// A session: magic, version, count and tokens, and then the state.
size_t size_of_session(llama_context *ctx, size_t count) {
    return 3 * sizeof(uint32_t) + count * sizeof(llama_token) + llama_state_get_size(ctx);
}

// Whether C cuts off what is there at once, and makes a file where there is none.
bool begins_anew(const char *mode) { return *mode == 'w' && !std::strchr(mode, 'x'); }

#ifndef _WIN32

// In C as well, the old contents are gone from the moment in which the file is opened.
FILE *open_anew(const char *name, const char *mode) try {
    replaced_file file(name);
    std::unique_ptr<FILE, decltype(&std::fclose)> opened(ggml_fopen(file.partial().c_str(), mode), std::fclose);
    if (opened) file.take_place();
    return opened.release();
} catch (const not_written &) {
    return nullptr;
}

#else

FILE *open_anew(const char *name, const char *mode) { return ggml_fopen(name, mode); }  // an open file keeps its name

#endif

}  // namespace

FILE *open_file(call *, const char *name, const char *mode) {
    if (*mode == 'w') require_not_mapped(name);
    return begins_anew(mode) && is_replaceable(name) ? open_anew(name, mode) : ggml_fopen(name, mode);
}

void save_model(call *, const llama_model *model, const char *path) {
    require_readable_weights(model);
    replaced_file file(path);
    llama_model_save_to_file(model, file.partial().c_str());
    file.put_gguf_in_place();
}

bool save_gguf(call *, const gguf_context *ctx, const char *path, bool only_meta) {
    return write_to(
        path, [&](const char *file) { return gguf_write_to_file(ctx, file, only_meta) ? size_of(ctx, only_meta) : 0; });
}

bool save_state(call *, llama_context *ctx, const char *path, const llama_token *tokens, size_t count) {
    return write_to(path, [&](const char *file) {
        return llama_state_save_file(ctx, file, tokens, count) ? size_of_session(ctx, count) : 0;
    });
}

size_t save_sequence(call *, llama_context *ctx, const char *path, llama_seq_id sequence, const llama_token *tokens,
                     size_t count) {
    return write_to(path,
                    [&](const char *file) { return llama_state_seq_save_file(ctx, file, sequence, tokens, count); });
}

}  // namespace llamacffi
