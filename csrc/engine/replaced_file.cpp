// See replaced_file.h.
#include "engine/replaced_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdint>
#include <memory>
#include <random>
#include <system_error>
#ifdef _WIN32
#include <io.h>
#else
#include <unistd.h>
#endif

#include "gguf.h"

namespace llamacffi {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path &target, const std::string &reason) {
    throw not_written(target.u8string() + " was not written: " + reason);
}

std::string reason_of(int error) { return std::generic_category().message(error); }

std::string random_name() {
    static constexpr char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    std::random_device random;
    std::string name = ".llamacffi-";
    for (int i = 0; i < 12; ++i) name += letters[random() % (sizeof letters - 1)];
    return name + ".part";
}

// How long a GGUF file is by its tensor table; without an end where it has none.
size_t size_of_gguf(const std::string &path) {
    const std::unique_ptr<gguf_context, decltype(&gguf_free)> file(
        gguf_init_from_file(path.c_str(), {/*no_alloc=*/true, nullptr}), gguf_free);
    if (!file) return SIZE_MAX;
    size_t end = 0;
    for (int64_t i = 0; i < gguf_get_n_tensors(file.get()); ++i)
        end = std::max(end, gguf_get_tensor_offset(file.get(), i) + gguf_get_tensor_size(file.get(), i));
    return gguf_get_data_offset(file.get()) + end;
}

// A delayed write error comes out here.
int sync(const std::string &path) {
    std::FILE *file = ggml_fopen(path.c_str(), "rb+");
    if (!file) return errno;
#ifdef _WIN32
    const int failed = _commit(_fileno(file));
#else
    const int failed = fsync(fileno(file));
#endif
    const int error = failed ? errno : 0;
    std::fclose(file);
    return error;
}

// Why C would not open a file for writing; a folder that may be written to lets anything in it be replaced.
int error_of_opening(const fs::path &file) {
#ifdef _WIN32
    return 0;  // there it is the renaming that fails
#else
    return access(file.c_str(), W_OK) ? errno : 0;
#endif
}

// What is written to by C under this name: a link leads to a file that need not be there yet.
fs::path without_links(const fs::path &name) {
    fs::path file = fs::weakly_canonical(fs::absolute(name));
    while (!fs::exists(file) && fs::is_symlink(fs::symlink_status(file)))
        file = fs::weakly_canonical(file.parent_path() / fs::read_symlink(file));
    return file;
}

}  // namespace

bool is_replaceable(const char *name) {
    std::error_code error;
    const fs::path path = fs::u8path(name);
    if (!fs::exists(fs::status(path, error))) return true;  // or what is in the way is the error of who writes
    if (!fs::is_regular_file(path, error)) return false;
    return !fs::canonical(path, error).empty();
}

replaced_file::replaced_file(const char *name) : target_(fs::u8path(name)) {
    try {
        target_ = without_links(target_);
        const fs::file_status there = fs::status(target_);
        is_new_ = !fs::exists(there);
        if (!is_new_ && !fs::is_regular_file(there)) fail(target_, "it is there and no regular file");
    } catch (const fs::filesystem_error &error) {
        fail(target_, error.code().message());
    }
    if (const int error = is_new_ ? 0 : error_of_opening(target_)) fail(target_, reason_of(error));
    make();
}

// A new file has the mode that the umask leaves, as C makes it; one in the place of another is nobody else's meanwhile.
void replaced_file::make() {
    std::FILE *file = nullptr;
    do {
        partial_ = (target_.parent_path() / random_name()).u8string();
        file = ggml_fopen(partial_.c_str(), "wbx");
    } while (!file && errno == EEXIST);
    if (!file) fail(target_, reason_of(errno));
    std::fclose(file);
    std::error_code ignored;
    if (!is_new_) fs::permissions(fs::u8path(partial_), fs::perms::owner_read | fs::perms::owner_write, ignored);
}

replaced_file::~replaced_file() {
    std::error_code ignored;
    if (!partial_.empty()) fs::remove(fs::u8path(partial_), ignored);
}

void replaced_file::put_in_place(size_t size) {
    std::error_code error;
    const uintmax_t written = fs::file_size(fs::u8path(partial_), error);
    if (error || written < size) fail(target_, "the file is shorter than its contents; is the disk full?");
    if (const int failed = sync(partial_)) fail(target_, reason_of(failed));
    take_place();
}

void replaced_file::put_gguf_in_place() { put_in_place(size_of_gguf(partial_)); }

void replaced_file::take_place() {
    try {
        if (!is_new_) fs::permissions(fs::u8path(partial_), fs::status(target_).permissions());
        fs::rename(fs::u8path(partial_), target_);
    } catch (const fs::filesystem_error &error) {
        fail(target_, error.code().message());
    }
    partial_.clear();
}

}  // namespace llamacffi
