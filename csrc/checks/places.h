// Handles that stand inside of arguments: in arrays, in fields of structs, in arrays that fields point to. They pass
// through the same table as arguments.
//
// Where they stand is generated from the headers; how long such an array is, bindgen/policy.toml says.
#pragma once

#include <cstring>

#include "core/call.h"

namespace llamacffi {

inline const void *pointer_at(const void *memory, size_t offset) {
    const void *address;
    std::memcpy(&address, static_cast<const char *>(memory) + offset, sizeof address);
    return address;
}

// Act on each handle that stands at the place, with its index; false as soon as `act` says so. What C fills has none
// yet.
template <typename Act>
bool for_handles(const call &c, const place_row &place, Act act) {
    const void *memory = c.memory[place.position];
    if (!memory || place.how == ending::OUT) return true;
    size_t count = place.how == ending::ONE ? 1 : SIZE_MAX;
    if (place.how == ending::COUNTED && place.field == itself)
        count = c.numbers[place.count] > 0 ? static_cast<size_t>(c.numbers[place.count]) : 0;
    else if (place.how == ending::COUNTED)
        std::memcpy(&count, static_cast<const char *>(memory) + place.count, sizeof count);
    const size_t field = place.field == itself ? 0 : static_cast<size_t>(place.field);
    const void *items = place.how == ending::ONE || place.field == itself ? memory : pointer_at(memory, field);
    for (size_t i = 0; items && i < count; ++i) {
        const char *item = static_cast<const char *>(items) + i * place.item + (place.how == ending::ONE ? field : 0);
        if (place.how == ending::ENDED && !pointer_at(item, place.end)) break;
        if (!act(pointer_at(item, place.at), i)) return false;
    }
    return true;
}

// All of them are alive, and of their kind.
bool check_places(const call &c);

// After a call that made an object: the table learns of those that C has put beside it.
void remember_filled(const call &c);

// What the policy says that the result reads.
std::vector<const void *> read_in(const call &c);

}  // namespace llamacffi
