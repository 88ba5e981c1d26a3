// What is checked when all arguments of a call have been converted, right before C is entered.
#pragma once

#include "batches.h"
#include "bounds.h"
#include "callbacks.h"
#include "handles.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace llamacffi {

constexpr bool is(const function &what, const char *name) { return compare(what.name, name) == 0; }

static const char *sampler_name(const llama_sampler *sampler) {
    return sampler->iface && sampler->iface->name ? llama_sampler_name(sampler) : "(without a name)";
}

// llama_set_adapters_lora: the adapters stand in an array, where conversion does not see them.
static bool check_adapters(const call &c) {
    const parameter &row = c.parameters()[1];
    const size_t count = static_cast<size_t>(c.numbers[2]);
    const void *model = llama_get_model(static_cast<const llama_context *>(c.addresses[0]));
    void *const *adapters = static_cast<void *const *>(c.memory[1]);
    for (size_t i = 0; adapters && i < count; ++i) {
        const handle *known = handles.find(adapters[i]);
        const bool good = known && known->kind == handle_kind("llama_adapter_lora") && known->is == state::LIVE;
        if (!good) return refuse_value(c, row, "holds at " + std::to_string(i) + " what is no live llama_adapter_lora");
        if (known->owner != model)
            return refuse_value(c, row, "holds at " + std::to_string(i) + " an adapter of another model");
    }
    return true;
}

// Pointers to strings that C reads without asking: the pointer's position, the count's, and how many a C item has.
struct strings {
    const char *function;
    unsigned pointer, count, each;
};

static constexpr strings all_strings[] = {
    {"gguf_set_arr_str", 2, 3, 1},
    {"llama_chat_apply_template", 1, 2, 2},
    {"llama_model_load_from_splits", 0, 1, 1},
    {"llama_sampler_init_dry", 5, 6, 1},
    {"llama_sampler_init_grammar_lazy", 3, 4, 1},
    {"llama_sampler_init_grammar_lazy_patterns", 3, 4, 1},
};

static bool check_strings(const call &c, const strings &which) {
    const char *const *texts = static_cast<const char *const *>(c.memory[which.pointer]);
    const size_t count = static_cast<size_t>(std::max(0ll, c.numbers[which.count])) * which.each;
    for (size_t i = 0; texts && i < count; ++i) {
        if (texts[i]) continue;
        return refuse_value(c, c.parameters()[which.pointer], "holds NULL at " + std::to_string(i / which.each));
    }
    return true;
}

constexpr const strings *strings_of(const function &what) {
    for (const strings &one : all_strings) {
        if (is(what, one.function)) return &one;
    }
    return nullptr;
}

// The functions of a chain take any sampler, and read a chain's members out of it.
constexpr bool needs_chain(const function &what) {
    return (starts(what.name, "llama_sampler_chain_") && what.count &&
            llamacffi_parameters[what.first].type.what == kind::OBJECT) ||
           starts(what.name, "llama_perf_sampler");
}

static const llama_sampler_i *interface_of_chains() {
    llama_sampler *chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    const llama_sampler_i *interface = chain->iface;
    llama_sampler_free(chain);
    return interface;
}

static bool check_chain(const call &c) {
    const llama_sampler *sampler = static_cast<const llama_sampler *>(c.addresses[0]);
    static const llama_sampler_i *const chain_interface = interface_of_chains();
    if (sampler->iface == chain_interface) return true;
    return refuse_value(c, c.parameters()[0],
                        std::string("must be a sampler chain, not the sampler ") + sampler_name(sampler));
}

// How many items the ctypes array has that a struct's `_objects` (dicts and tuples) keep for the pointer `memory`, or
// SIZE_MAX.
static size_t items_behind(PyObject *objects, const void *memory, int depth = 4) {
    size_t found = SIZE_MAX;
    if (metatype(objects) == array_type && memory_of(objects) == memory)
        return static_cast<size_t>(PyObject_Size(objects));
    if (depth && PyTuple_Check(objects)) {
        for (Py_ssize_t i = 0; found == SIZE_MAX && i < PyTuple_Size(objects); ++i)
            found = items_behind(PyTuple_GetItem(objects, i), memory, depth - 1);
    }
    if (!depth || !PyDict_Check(objects)) return found;
    PyObject *key, *value;
    for (Py_ssize_t at = 0; found == SIZE_MAX && PyDict_Next(objects, &at, &key, &value);)
        found = items_behind(value, memory, depth - 1);
    return found;
}

// llama_sampler_apply: no more candidates than the array has that the caller put into the struct.
static bool check_candidates(const call &c) {
    PyObject *given = c.arguments[1];
    PyObject *array = Py_TYPE(given) == byref_type ? PyObject_GetAttrString(given, "_obj") : nullptr;
    PyObject *own = array ? array : given;
    PyObject *objects = metatype(own) == struct_type ? PyObject_GetAttrString(own, "_objects") : nullptr;
    const auto *candidates = static_cast<const llama_token_data_array *>(c.memory[1]);
    const size_t has = objects ? items_behind(objects, candidates->data) : SIZE_MAX;
    Py_XDECREF(objects);
    Py_XDECREF(array);
    PyErr_Clear();
    if (candidates->size <= has) return true;
    return refuse_value(c, c.parameters()[1],
                        "has size = " + std::to_string(candidates->size) + ", but data holds " + std::to_string(has));
}

// llama_attach_threadpool, llama_detach_threadpool: the pool that the context lets go of is paused, which a context
// that computes with it would not survive. Both keep the GIL, so that none can begin meanwhile.
static bool check_pools_idle(const call &c) {
    const parameter &row = c.parameters()[0];
    const handle *busy = handles.find(c.addresses[0]);
    if (busy && busy->depth) return refuse_busy(c, row, *busy);
    busy = nullptr;
    for (const attachment &own : attachments) {
        if (own.context != c.addresses[0] || own.slot >= 0) continue;
        for (const attachment &other : attachments) {
            const handle *context = other.address == own.address ? handles.find(other.context) : nullptr;
            if (context && context->computing) busy = context;
        }
    }
    if (!busy) return true;
    PyErr_Format(LlamaError, "%s has a thread pool that another context is computing with", subject(c, row).c_str());
    return false;
}

// Give up what a freed handle keeps, and what the samplers keep that go with a chain.
static void release_kept(call &c, const void *address) {
    const handle *freed = handles.find(address);
    if (freed && freed->kind == sampler_kind) {
        handles.for_members(address, [&](const handle &member) { release_kept(c, member.address); });
    }
    take_kept(c, address);
}

template <unsigned Function>
static inline bool before(call &c) {
    constexpr const function &what = llamacffi_functions[Function];
#ifndef LLAMACFFI_UNCHECKED
    if constexpr (what.count > 1) {
        if (c.generation != handles.generation && !check_again(c)) return false;
    }
    if (!check_bounds<Function>(c)) return false;
    if constexpr (is(what, "llama_set_adapters_lora")) {
        if (!check_adapters(c)) return false;
    }
    if constexpr (is(what, "llama_batch_free")) {
        if (!free_batch(c)) return false;
    } else if constexpr (position_of_batch(what) >= 0) {
        if (!check_batch(c, position_of_batch(what))) return false;
    }
    if constexpr (strings_of(what) != nullptr) {
        if (!check_strings(c, *strings_of(what))) return false;
    }
    if constexpr (is(what, "llama_sampler_apply")) {
        if (!check_candidates(c)) return false;
    }
    if constexpr (is(what, "llama_attach_threadpool") || is(what, "llama_detach_threadpool")) {
        if (!check_pools_idle(c)) return false;
    }
    if constexpr (needs_chain(what)) {
        if (!check_chain(c)) return false;
    }
    if constexpr (is(what, "llama_sampler_chain_add")) {
        if (!own_sampler(c)) return false;
    }
    if constexpr (is_free_of_one(what)) {
        if (!can_free(c)) return false;
    }
#endif
    if constexpr (what.frees && what.count == 1) release_kept(c, c.owner);
#ifndef LLAMACFFI_UNCHECKED
    if constexpr (is_free_of_one(what))
        handles.free(c.addresses[0], what);
    else if constexpr (marks_handles(what))
        return enter_handles(c);
#endif
    return true;
}

}  // namespace llamacffi
