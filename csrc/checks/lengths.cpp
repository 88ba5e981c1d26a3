// See lengths.h.
#include "checks/lengths.h"

#include <stdexcept>
#include <string>

#include "checks/bounds.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

extent of(size_t number) { return extent(number > INT64_MAX ? INT64_MAX : static_cast<long long>(number)); }

// How much memory the machine has, as ggml's CPU device tells it.
extent memory_of_machine() {
    static const extent total = [] {
        size_t free = 0, all = 0;
        ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
        if (cpu) ggml_backend_dev_memory(cpu, &free, &all);
        return all ? of(all) : extent::endless();
    }();
    return total;
}

void check_length(const call &c, const formula_row &row) {
    const parameter_row &parameter = c.parameters()[row.position];
    const size_t has = c.sizes[row.position];
    if (has == unknown_size || (has == null_size && row.null_is_good)) return;
    const long long wanted = row.most(c).value();
    if (wanted <= 0 || (has != null_size && static_cast<size_t>(wanted) <= has / parameter.type.size)) return;
    throw std::invalid_argument(described(c, parameter) + too_short(parameter, static_cast<size_t>(wanted), has));
}

void check_range(const call &c, const formula_row &row) {
    const long long number = c.numbers[row.position], least = row.least(c).value(), most = row.most(c).value();
    if (number >= least && number <= most) return;
    throw std::invalid_argument(described(c, c.parameters()[row.position]) + out_of_limits(least, most, number));
}

void check_memory(const call &c, const formula_row &row) {
    const long long bytes = row.most(c).value(), all = memory_of_machine().value();
    if (bytes > all || bytes == INT64_MAX) throw more_than_memory{};
}

size_t object_bytes() { return ggml_tensor_overhead() - GGML_TENSOR_SIZE; }

}  // namespace

void check_formula(const call &c, const formula_row &row) {
    switch (row.kind) {
        case formula_kind::LENGTH: return check_length(c, row);
        case formula_kind::RANGE: return check_range(c, row);
        case formula_kind::MEMORY: return check_memory(c, row);
    }
}

// ---------------------------------------------------------------- what formulas ask

extent larger(extent a, extent b) { return a.value() < b.value() ? b : a; }

extent block_items(extent type) { return extent(ggml_blck_size(static_cast<ggml_type>(type.value()))); }

// C would round down where a row ends inside a block; what it reads and writes of many rows is in whole ones.
extent row_bytes(extent type, extent n_per_row) {
    const extent items = block_items(type);
    const extent blocks = (n_per_row + items - extent(1)) / items;
    return blocks * of(ggml_type_size(static_cast<ggml_type>(type.value())));
}

extent array_item_bytes(extent type) {
    static constexpr long long sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    static_assert(std::size(sizes) == GGUF_TYPE_COUNT);
    const long long size = sizes[type.value()];
    if (!size) throw std::invalid_argument("type must be a type of numbers");
    return extent(size);
}

extent meta_bytes(const gguf_context *gguf) { return of(gguf_get_meta_size(gguf)); }

extent tensor_bytes(const gguf_context *gguf, const char *name) {
    const int64_t tensor = gguf_find_tensor(gguf, name);
    return tensor < 0 ? extent(0) : of(gguf_get_tensor_size(gguf, tensor));  // C says itself that there is none
}

extent array_length(const gguf_context *gguf, extent key) {
    const bool texts = gguf_get_kv_type(gguf, key.value()) == GGUF_TYPE_ARRAY &&
                       gguf_get_arr_type(gguf, key.value()) == GGUF_TYPE_STRING;
    return texts ? of(gguf_get_arr_n(gguf, key.value())) : extent(0);
}

extent state_bytes(llama_context *ctx) { return of(llama_state_get_size(ctx)); }

// The cells of the cache alone, which are there whatever the model is: a position, a shift, two coordinates, sequences.
extent context_bytes(const llama_model *model, const llama_context_params &params) {
    constexpr long long cell = 48;
    return llama_model_is_recurrent(model) ? extent(0) : extent(params.n_ctx) * extent(cell);
}

extent arena_bytes(const ggml_init_params &params) { return params.mem_buffer ? extent(0) : of(params.mem_size); }

extent arena_room(const ggml_context *ctx) {
    return of(ggml_get_mem_size(ctx)) - of(ggml_used_mem(ctx)) - of(object_bytes()) - extent(GGML_MEM_ALIGN);
}

// As many nodes as leave the graph within the context's memory: the number given, if they do.
extent graph_room(const ggml_context *ctx, extent size, extent gradients) {
    const size_t nodes = static_cast<size_t>(size.value() < 0 ? 0 : size.value());
    const extent room = arena_room(ctx);
    if (nodes > INT32_MAX) return extent(INT32_MAX);
    const extent needs = of(ggml_graph_overhead_custom(nodes, gradients.value() != 0));
    return needs.value() <= room.value() ? size : room * size / needs;
}

// ---------------------------------------------------------------- training

extent optimizer_bytes() { return of(sizeof(ggml_opt_optimizer_params)); }

// Each datapoint has one, or none has.
extent predictions(ggml_opt_result_t result) {
    int64_t count = 0;
    ggml_opt_result_ndata(result, &count);
    return extent(count);
}

extent dataset_items(ggml_opt_dataset_t dataset) { return extent(ggml_opt_dataset_ndata(dataset)); }

extent data_bytes(ggml_opt_dataset_t dataset) {
    const ggml_tensor *data = ggml_opt_dataset_data(dataset);
    if (!data->data) throw std::invalid_argument("dataset has no memory: its creation failed");
    return of(ggml_nbytes(data));
}

extent label_bytes(ggml_opt_dataset_t dataset, extent bytes) {
    const ggml_tensor *labels = ggml_opt_dataset_labels(dataset);
    return labels ? bytes * of(ggml_nbytes(labels)) / data_bytes(dataset) : extent(0);
}

extent any_batch(ggml_opt_context_t opt_ctx) {
    if (!ggml_opt_inputs(opt_ctx)) throw std::invalid_argument("opt_ctx has no inputs yet");
    return extent::endless();
}

// ---------------------------------------------------------------- images and sound

extent image_tokens_in(const mtmd_image_tokens *image) { return of(mtmd_image_tokens_get_n_tokens(image)); }

extent embedding_floats(const llama_context *ctx, const mtmd_input_chunk *chunk) {
    return of(mtmd_input_chunk_get_n_tokens(chunk)) * extent(llama_model_n_embd_inp(llama_get_model(ctx)));
}

}  // namespace llamacffi
