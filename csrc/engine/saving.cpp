// See saving.h.
#include "engine/saving.h"

#include <cstring>
#include <stdexcept>
#include <string>

#ifdef __linux__
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fstream>
#endif

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

}  // namespace

FILE *open_file(call *, const char *name, const char *mode) {
    if (std::strchr(mode, 'w')) require_not_mapped(name);
    return ggml_fopen(name, mode);
}

void save_model(call *, const llama_model *model, const char *path) {
    require_readable_weights(model);
    replaced_file file(path);  // a file that is mapped stays as it is for whoever has mapped it
    llama_model_save_to_file(model, file.partial().c_str());
    file.put_in_place();
}

bool save_gguf(call *, const gguf_context *ctx, const char *path, bool only_meta) {
    require_not_mapped(path);
    return gguf_write_to_file(ctx, path, only_meta);
}

bool save_state(call *, llama_context *ctx, const char *path, const llama_token *tokens, size_t count) {
    require_not_mapped(path);
    return llama_state_save_file(ctx, path, tokens, count);
}

size_t save_sequence(call *, llama_context *ctx, const char *path, llama_seq_id sequence, const llama_token *tokens,
                     size_t count) {
    require_not_mapped(path);
    return llama_state_seq_save_file(ctx, path, sequence, tokens, count);
}

}  // namespace llamacffi
