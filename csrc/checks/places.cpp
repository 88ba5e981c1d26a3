// See places.h.
#include "checks/places.h"

#include <string>

#include "checks/handle_table.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

// C divides a model's tensors as that function says, and does not ask whether it can; its own meta devices it makes
// itself (LLAMA_SPLIT_MODE_TENSOR).
bool is_meta_device(uint8_t kind, const void *address) {
    auto *device = static_cast<ggml_backend_device *>(const_cast<void *>(address));
    return kind == kind_of_ggml_backend_device && ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_META;
}

// What is wrong with it, or nullptr. NULL is the end of an array, or what an optional field holds.
const char *wrong_with(const place_row &place, const void *address) {
    const handle *known = address ? handles.find(address) : nullptr;
    if (!address) return place.how == ending::COUNTED ? "NULL" : nullptr;
    if (known && known->kind == place.handle) {
        if (known->life == life::FREED) return "a freed one";
        if (is_meta_device(place.handle, address))
            return "a meta device, whose parts only a function of the caller's tells";
        return known->life == life::BROKEN ? "one that an assertion has broken" : nullptr;
    }
    if (is_registered(place.handle, address)) return nullptr;
    const bool strict = handle_kinds[place.handle].known || place.handle == kind_of_llama_sampler;
    return strict || known ? "what is none" : nullptr;
}

bool check_place(const call &c, const place_row &place) {
    const parameter_row &row = c.parameters()[place.position];
    return for_handles(c, place, [&](const void *address, size_t i) {
        const char *wrong = wrong_with(place, address);
        if (!wrong) return true;
        const std::string index = place.how == ending::ONE ? "" : "[" + std::to_string(i) + "]";
        return refuse_value(c, row,
                            std::string("must hold at ") + place.name + index + " a live " +
                                handle_kinds[place.handle].name + ", not " + wrong);
    });
}

void add_items(const call &c, unsigned position, std::vector<const void *> &all) {
    for (unsigned i = 0; i < c.function.n_places; ++i) {
        const place_row &place = place_rows[c.function.first_place + i];
        if (place.position == position)
            for_handles(c, place, [&](const void *one, size_t) { return all.push_back(one), true; });
    }
}

}  // namespace

std::vector<const void *> read_in(const call &c) {
    std::vector<const void *> all;
    for (unsigned i = 0; i < c.function.n_reads; ++i) {
        const read_row &row = read_rows[c.function.first_read + i];
        if (row.field == itself)
            all.push_back(c.addresses[row.position]);
        else if (row.field == all_items)
            add_items(c, row.position, all);
        else
            all.push_back(pointer_at(c.memory[row.position], static_cast<size_t>(row.field)));
    }
    return all;
}

void remember_filled(const call &c) {
    for (unsigned i = 0; i < c.function.n_places; ++i) {
        const place_row &place = place_rows[c.function.first_place + i];
        const void *memory = c.memory[place.position];
        if (place.how != ending::OUT || !memory) continue;
        const void *target = pointer_at(memory, static_cast<size_t>(place.field));
        const void *filled = target ? pointer_at(target, 0) : nullptr;
        if (filled) handles.put(filled, place.handle, nullptr);
    }
}

bool check_places(const call &c) {
    for (unsigned i = 0; i < c.function.n_places; ++i) {
        if (!check_place(c, place_rows[c.function.first_place + i])) return false;
    }
    return true;
}

}  // namespace llamacffi
