// Which handles are alive, of which kind, and who they belong to.
//
// A handle is the address of something that llama.cpp made. The table learns of it when a function returns it, and
// looks it up whenever it comes back. It is read and written with the border's lock held: before C is entered, and
// after.
//
// Kinds of which every instance passes through the border (`known`) must be in the table; of the others an address
// that it does not know is trusted, since C also hands them out inside structs and to callbacks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/call.h"

namespace llamacffi {

enum class life : uint8_t { LIVE, BROKEN, FREED };

struct handle {
    const void *address;
    const void *owner;             // the model of a vocab, the chain of a sampler, …
    const void *partner;           // an object with state that this one reads, which is entered with it
    const function_row *freed_by;  // by which call it went
    uint32_t children;             // how many handles have this one as their owner
    uint32_t readers;              // how many living objects read this one
    uint16_t depth;                // how many calls are inside
    uint16_t reading, changing;    // how many of them read, and change
    uint16_t brief;                // how many of those end soon (`waits` in the policy)
    uint16_t waiting;              // how many calls wait until others have left
    uint32_t held;                 // how often its memory is lent to what has been kept (core/outputs.h)
    unsigned long thread;          // the last one that came in, but for those
    const function_row *inside;    // and by which call
    uint8_t kind;
    llamacffi::life life;
    bool foreign;  // a sampler that the caller built: C must not free it
    bool bare;     // a gguf context whose tensors were read without their data
};

// Open addressing; what was freed stays, to tell what a stale handle was, until that is more than `most_freed`.
class handle_table {
  public:
    uint64_t generation = 0;  // how many handles have been freed

    handle *find(const void *address) {
        for (size_t at = place(address);; at = (at + 1) & mask_) {
            if (slots_[at].address == address) return &slots_[at];
            if (!slots_[at].address) return nullptr;
        }
    }

    handle &put(const void *address, uint8_t kind, const void *owner);
    void set_owner(handle &one, const void *owner);

    // Mark `address` as freed, and with it what C frees together with it.
    void free(const void *address, const function_row &by);

    // Act on what belongs to `address`; most own nothing, and then the table is not walked.
    template <typename Act>
    void for_members(const void *address, Act act) {
        const handle *owner = find(address);
        if (!owner || !owner->children) return;
        for (handle &one : slots_) {
            if (one.address && one.owner == address) act(one);
        }
    }

    template <typename Act>
    void for_each(Act act) {
        for (handle &one : slots_) {
            if (one.address) act(one);
        }
    }

  private:
    size_t place(const void *address) const {
        return (reinterpret_cast<uintptr_t>(address) * 0x9E3779B97F4A7C15ull >> 20) & mask_;
    }

    void leave_owner(handle &one);
    handle &empty_slot(const void *address);
    void grow();

    static constexpr size_t smallest = 1024;
    static constexpr long most_freed = 65536;
    std::vector<handle> slots_ = std::vector<handle>(smallest);
    size_t mask_ = smallest - 1;
    size_t used_ = 0;
};

extern handle_table handles;

bool refuse_freed(const call &c, const parameter_row &row, const handle &one);
bool refuse_kind(const call &c, const parameter_row &row, const std::string &found);

// Whether it is a device that the registry has, which the table need not know.
bool is_registered(uint8_t kind, const void *address);

// Judge a handle that is not simply alive: the way out of the fast check.
bool judge_handle(const call &c, const parameter_row &row, const void *address);

bool check_again(const call &c);

// Converting a later argument, or asking an object for what it keeps, can run Python code or let another thread go on,
// and that can free an earlier argument.
inline bool still_alive(const call &c) { return c.generation == handles.generation || check_again(c); }

template <unsigned Row>
inline bool check_handle(call &c, const void *address) {
#ifndef LLAMACFFI_UNCHECKED
    constexpr const parameter_row &row = parameter_rows[Row];
    if constexpr (row.handle != no_kind) {
        const handle *known = handles.find(address);
        if (!known || known->kind != row.handle || known->life != life::LIVE)
            return !address || judge_handle(c, row, address);
    }
#endif
    return true;
}

// ---------------------------------------------------------------- results

void remember_created(const call &c, const void *address);
void remember_borrowed(const call &c, const void *address);

template <unsigned Function>
inline void remember_handle(const call &c, const void *address) {
    constexpr const function_row &function = function_rows[Function];
    if constexpr (function.result_handle != no_kind) {
        if (!address) return;
        if constexpr (function.creates) return remember_created(c, address);
        const handle *known = handles.find(address);
        if (!known || known->kind != function.result_handle || known->life == life::FREED || function.gives_back)
            remember_borrowed(c, address);
    }
}

}  // namespace llamacffi
