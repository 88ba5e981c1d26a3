// See models.h.
#include "engine/models.h"

#include <stdexcept>
#include <string>

#include "core/callbacks.h"
#include "engine/logs.h"
#include "engine/weights.h"

namespace llamacffi {

namespace {

struct load_progress {
    llama_progress_callback callback;
    void *user_data;
    unsigned percent = 0;
};

// Upstream shows dots where nobody asks for the progress.
void show_dots(load_progress &state, float progress) {
    const unsigned percent = static_cast<unsigned>(100 * progress);
    if (percent <= state.percent) return;
    state.percent = percent;
    log_sink(GGML_LOG_LEVEL_CONT, percent >= 100 ? ".\n" : ".", nullptr);
}

bool progress_hook(float progress, void *data) {
    load_progress &state = *static_cast<load_progress *>(data);
    if (!state.callback) show_dots(state, progress);
    return (!state.callback || state.callback(progress, state.user_data)) && !must_stop();
}

// Upstream splits tensors among GPUs; on the CPU what it computes then reads and writes beside them.
void check_split(const llama_model_params &params) {
    if (params.split_mode != LLAMA_SPLIT_MODE_TENSOR) return;
    for (size_t i = 0; params.devices && params.devices[i]; ++i) {
        if (ggml_backend_dev_type(params.devices[i]) == GGML_BACKEND_DEVICE_TYPE_CPU)
            throw std::invalid_argument("params.split_mode LLAMA_SPLIT_MODE_TENSOR takes GPUs alone, and devices[" +
                                        std::to_string(i) + "] is " + ggml_backend_dev_name(params.devices[i]));
    }
}

template <typename Load>
llama_model *load_model(const call *c, llama_model_params params, Load load) {
    refuse_reading_of_reordered_weights();
    check_split(params);
    load_progress state{params.progress_callback, params.progress_callback_user_data};
    params.progress_callback = progress_hook;
    params.progress_callback_user_data = &state;
    llama_model *model = load(params);
    if (!model || !has_failed(c)) return model;
    llama_model_free(model);
    return nullptr;
}

}  // namespace

llama_model *load_from_file(call *c, const char *path, llama_model_params params) {
    return load_model(c, params, [&](llama_model_params own) { return llama_model_load_from_file(path, own); });
}

llama_model *load_from_file_ptr(call *c, FILE *file, llama_model_params params) {
    return load_model(c, params, [&](llama_model_params own) { return llama_model_load_from_file_ptr(file, own); });
}

llama_model *load_from_splits(call *c, const char **paths, size_t count, llama_model_params params) {
    return load_model(c, params,
                      [&](llama_model_params own) { return llama_model_load_from_splits(paths, count, own); });
}

llama_model *init_from_user(call *c, gguf_context *metadata, llama_model_set_tensor_data_t set_data, void *user_data,
                            llama_model_params params) {
    return load_model(c, params, [&](llama_model_params own) {
        return llama_model_init_from_user(metadata, set_data, user_data, own);
    });
}

}  // namespace llamacffi
