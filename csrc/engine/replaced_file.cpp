// See replaced_file.h.
#include "engine/replaced_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <random>
#include <stdexcept>
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
    throw std::runtime_error(target.string() + " was not written: " + reason);
}

std::string reason_of(int error) { return std::generic_category().message(error); }

std::string random_name() {
    static constexpr char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    std::random_device random;
    std::string name = ".llamacffi-";
    for (int i = 0; i < 12; ++i) name += letters[random() % (sizeof letters - 1)];
    return name + ".part";
}

// Whether a GGUF file is as long as its tensor table says.
bool is_complete(const std::string &path) {
    const std::unique_ptr<gguf_context, decltype(&gguf_free)> file(
        gguf_init_from_file(path.c_str(), {/*no_alloc=*/true, nullptr}), gguf_free);
    if (!file) return false;
    size_t end = 0;
    for (int64_t i = 0; i < gguf_get_n_tensors(file.get()); ++i)
        end = std::max(end, gguf_get_tensor_offset(file.get(), i) + gguf_get_tensor_size(file.get(), i));
    return fs::file_size(path) >= gguf_get_data_offset(file.get()) + end;
}

// A delayed write error comes out here.
int sync(const std::string &path) {
    std::FILE *file = std::fopen(path.c_str(), "rb+");
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

}  // namespace

replaced_file::replaced_file(const char *name) : target_(name) {
    try {
        target_ = fs::weakly_canonical(fs::absolute(target_));
        const fs::file_status there = fs::status(target_);
        is_new_ = !fs::exists(there);
        if (!is_new_ && !fs::is_regular_file(there)) fail(target_, "it is there and no regular file");
    } catch (const fs::filesystem_error &error) {
        fail(target_, error.code().message());
    }
    make();
}

// A new file has the mode that the umask leaves, as C makes it; one in the place of another is nobody else's meanwhile.
void replaced_file::make() {
    std::FILE *file = nullptr;
    do {
        partial_ = (target_.parent_path() / random_name()).string();
        file = std::fopen(partial_.c_str(), "wbx");
    } while (!file && errno == EEXIST);
    if (!file) fail(target_, reason_of(errno));
    std::fclose(file);
    std::error_code ignored;
    if (!is_new_) fs::permissions(partial_, fs::perms::owner_read | fs::perms::owner_write, ignored);
}

replaced_file::~replaced_file() {
    std::error_code ignored;
    if (!partial_.empty()) fs::remove(partial_, ignored);
}

void replaced_file::put_in_place() {
    if (!is_complete(partial_)) fail(target_, "the file is shorter than its contents; is the disk full?");
    if (const int error = sync(partial_)) fail(target_, reason_of(error));
    try {
        if (!is_new_) fs::permissions(partial_, fs::status(target_).permissions());
        fs::rename(partial_, target_);
    } catch (const fs::filesystem_error &error) {
        fail(target_, error.code().message());
    }
    partial_.clear();
}

}  // namespace llamacffi
