// Checks of single functions, which bindgen/policy.toml names: what C takes for granted of one argument.
#include <string>

#include "checks/handle_table.h"
#include "checks/ownership.h"
#include "checks/reads.h"
#include "core/ctypes_objects.h"
#include "core/errors.h"

namespace llamacffi {

// That they are adapters, and alive, has been asked already, and so has the array's length.
bool check_adapters(call &c, unsigned position) {
    const parameter_row &row = c.parameters()[position];
    const size_t count = static_cast<size_t>(c.numbers[bound_rows[c.function.first_bound].length]);
    const void *model = llama_get_model(static_cast<const llama_context *>(c.addresses[0]));
    void *const *adapters = static_cast<void *const *>(c.memory[position]);
    for (size_t i = 0; adapters && i < count; ++i) {
        if (handles.find(adapters[i])->owner != model)
            return refuse_value(c, row, "holds at " + std::to_string(i) + " an adapter of another model");
    }
    return true;
}

// Tokens that C looks up in an array of the vocabulary; bounds have compared their number already.
bool check_tokens(call &c, unsigned position) {
    const auto *tokens = static_cast<const llama_token *>(c.memory[position]);
    const llama_token size = llama_vocab_n_tokens(static_cast<const llama_vocab *>(c.addresses[0]));
    const long long count = c.numbers[bound_rows[c.function.first_bound].length];
    for (long long i = 0; i < count; ++i) {
        if (tokens[i] >= 0 && tokens[i] < size) continue;
        return refuse_value(c, c.parameters()[position],
                            "holds at " + std::to_string(i) + " the token " + std::to_string(tokens[i]) +
                                ", where the vocabulary has " + std::to_string(size));
    }
    return true;
}

// No more candidates than the array has that the caller put into the struct.
bool check_candidates(call &c, unsigned position) {
    PyObject *given = c.arguments[position];
    PyObject *array = Py_TYPE(given) == byref_type ? attribute(given, "_obj") : nullptr;
    PyObject *own = array ? array : given;
    PyObject *objects = metatype(own) == struct_type ? attribute(own, "_objects") : nullptr;
    const auto *candidates = static_cast<const llama_token_data_array *>(c.memory[position]);
    const size_t has = objects ? items_behind(objects, candidates->data) : SIZE_MAX;
    Py_XDECREF(objects);
    Py_XDECREF(array);
    PyErr_Clear();
    if (candidates->size <= has) return true;
    return refuse_value(c, c.parameters()[position],
                        "has size = " + std::to_string(candidates->size) + ", but data holds " + std::to_string(has));
}

// C calls what a device need not have.
bool check_takes_host_memory(call &c, unsigned position) {
    auto *device = static_cast<ggml_backend_device *>(const_cast<void *>(c.addresses[position]));
    ggml_backend_dev_props props{};
    ggml_backend_dev_get_props(device, &props);
    if (props.caps.buffer_from_host_ptr) return true;
    return refuse_value(
        c, c.parameters()[position],
        std::string("must be a device that can use the caller's memory, and ") + props.name + " cannot");
}

// A tensor that was read from a file has a name and a shape, and nothing that C could write.
void remember_read_tensors(call &, const void *result) {
    handle *known = handles.find(result);
    if (known) known->bare = gguf_get_n_tensors(static_cast<const gguf_context *>(result)) > 0;
}

// Upstream splits tensors among GPUs alone (engine/models.cpp). Their number is the next argument.
bool check_are_gpus(call &c, unsigned position) {
    const auto *devices = static_cast<const ggml_backend_dev_t *>(c.memory[position]);
    if (c.numbers[position + 1] < 1) return refuse_value(c, c.parameters()[position], "must be of GPUs, and has none");
    for (long long i = 0; devices && i < c.numbers[position + 1]; ++i) {
        if (ggml_backend_dev_type(devices[i]) != GGML_BACKEND_DEVICE_TYPE_CPU) continue;
        return refuse_value(c, c.parameters()[position],
                            std::string("must be of GPUs alone, and has ") + ggml_backend_dev_name(devices[i]));
    }
    return true;
}

bool check_is_another(call &c, unsigned position) {
    if (c.addresses[position] != c.addresses[0]) return true;
    return refuse_value(c, c.parameters()[position], std::string("must be another one than ") + c.parameters()[0].name);
}

// The one struct by value that hands out what it has made.
void remember_graph_copy(call &, const void *result) {
    const auto &copy = *static_cast<const struct ggml_backend_graph_copy *>(result);
    if (copy.buffer) handles.put(copy.buffer, kind_of_ggml_backend_buffer, nullptr);
    for (const ggml_context *ctx : {copy.ctx_allocated, copy.ctx_unallocated}) {
        if (ctx) handles.put(ctx, kind_of_ggml_context, nullptr);
    }
}

// It goes with all that it has made; that this is alive, `check_places` has seen.
bool check_graph_copy(call &c, unsigned position) {
    const auto &copy = *static_cast<const struct ggml_backend_graph_copy *>(c.memory[position]);
    const void *const made[] = {copy.buffer, copy.ctx_allocated, copy.ctx_unallocated};
    for (const void *address : made) handles.free(address, c.function);
    return true;
}

// `only_meta` is the last argument.
bool check_tensors_in_memory(call &c, unsigned position) {
    const handle *known = handles.find(c.addresses[position]);
    if (!known || !known->bare || PyObject_IsTrue(c.arguments[c.function.count - 1]) == 1) return true;
    PyErr_Clear();
    return refuse_value(c, c.parameters()[position],
                        "has tensors that were read without their data: write only_meta, or add tensors that are in "
                        "memory to one of gguf_init_empty()");
}

// What was made for one context is of no use to another.
bool check_of_context(call &c, unsigned position) {
    const void *made = c.addresses[position];
    return reads(made, c.addresses[c.function.computes]) ||
           refuse_value(c, c.parameters()[position], "was made for another context");
}

}  // namespace llamacffi
