// See border.h. Here is also what libFuzzer and the sanitizers ask a program for.
#include "border.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>

#include "core/guard.h"
#include "engine/contexts.h"
#include "engine/ends.h"
#include "engine/models.h"

namespace {

constexpr size_t most_memory = size_t(1) << 30;  // bytes in one piece, as on a machine that has no more

std::vector<std::string> model_paths() {
    const char *folder = std::getenv("LLAMACFFI_MODELS");
    std::vector<std::string> paths;
    if (folder)
        for (const auto &file : std::filesystem::directory_iterator(folder)) paths.push_back(file.path().string());
    std::sort(paths.begin(), paths.end());
    return paths;
}

std::vector<llama_model *> load_models() {
    std::vector<llama_model *> models;
    for (const std::string &path : model_paths())
        models.push_back(llamacffi::load_from_file(nullptr, path.c_str(), llama_model_default_params()));
    if (!models.empty() && !std::count(models.begin(), models.end(), nullptr)) return models;
    std::fputs("LLAMACFFI_MODELS should name a folder of models that load: seeds.py writes them\n", stderr);
    std::exit(2);
}

void be_silent(ggml_log_level, const char *, void *) {}

}  // namespace

// The sanitizer's own `new` would end the process where there is no memory; the border makes an exception of bad_alloc.
void *operator new(size_t size) {
    if (size > most_memory) throw std::bad_alloc();
    if (void *memory = std::malloc(size ? size : 1)) return memory;
    throw std::bad_alloc();
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t) noexcept { std::free(memory); }

// An assertion that is thrown through C's frames leaves behind what they had allocated. And the other forms of `new`
// are the sanitizer's own, so it would complain of each pair.
extern "C" const char *__asan_default_options() {
    return "detect_leaks=0:alloc_dealloc_mismatch=0:allocator_may_return_null=1:max_allocation_size_mb=1024";
}

extern "C" int LLVMFuzzerInitialize(int *, char ***) {
    llama_log_set(be_silent, nullptr);
    ggml_set_abort_callback(llamacffi::throw_assertion);
    return 0;
}

namespace inputs {

const char *written(const uint8_t *data, size_t size) {
    static const std::string path = std::filesystem::temp_directory_path() / ("input-" + std::to_string(getpid()));
    static const int remove_at_exit = std::atexit([] { std::remove(path.c_str()); });
    (void)remove_at_exit;
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char *>(data), size);
    return path.c_str();
}

std::vector<std::string> texts(const uint8_t *data, size_t size, size_t least) {
    std::vector<std::string> found(1);
    for (size_t i = 0; i < size; ++i) {
        if (data[i])
            found.back() += static_cast<char>(data[i]);
        else
            found.emplace_back();
    }
    if (found.size() < least) found.resize(least);
    return found;
}

const std::vector<llama_model *> &shared_models() {
    static const std::vector<llama_model *> models = load_models();
    return models;
}

llama_context *context_of(llama_model *model) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = 64;
    params.n_seq_max = 2;
    params.n_threads = params.n_threads_batch = 1;
    return llamacffi::init_from_model(nullptr, model, params);
}

bool decode_tokens(llama_context *ctx) {
    llama_token tokens[] = {0, 1, 1};
    if (llamacffi::decode(nullptr, ctx, llama_batch_get_one(tokens, std::size(tokens))) != 0) return false;
    llama_sampler *sampler = llama_sampler_init_greedy();
    llama_sampler_sample(sampler, ctx, -1);
    llama_sampler_free(sampler);
    return true;
}

std::vector<lasting_context> &lasting_contexts() {
    static std::vector<lasting_context> contexts(shared_models().begin(), shared_models().end());
    return contexts;
}

void lasting_context::replace() {
    llamacffi::free_context(nullptr, ctx_);
    ctx_ = nullptr;
}

}  // namespace inputs
