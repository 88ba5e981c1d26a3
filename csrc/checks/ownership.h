// Who may be freed: what belongs to another, what another uses, and what a running call is in.
//
// The handle table knows owners; here are the rest of the verbs of bindgen/policy.toml: takes, gives back, attaches.
#pragma once

#include <vector>

#include "core/call.h"

namespace llamacffi {

struct handle;

// Functions with one handle, which they free.
constexpr bool frees_one_handle(const function_row &function) {
    return function.frees != nowhere && function.count == 1 && parameter_rows[function.first].handle != no_kind;
}

// Whether the one argument of a freeing function may be freed now. It is then marked before C is entered, so that no
// other thread can use it from here on.
bool can_free(call &c);

// From here on one argument belongs to another: a sampler to its chain.
bool can_take(const call &c);
void take(call &c);
void give_back(const void *address);

// What a context uses without owning it: thread pools and samplers. They cannot be freed before it lets go.
struct attachment {
    const void *context;
    int slot;  // the sequence of a sampler; a thread pool stands below zero
    const void *address;
};

void attach(const void *context, int slot, const void *address);
void detach_all(const void *context);

// A context that is about to be freed: what it uses is attached to `name` from here on, and it applies no adapter.
void rename_context(const void *context, const void *name);
std::vector<attachment> all_attachments();

// The adapters that a context applies. C keeps no count of them, so one that is freed is taken out of its contexts
// first.
struct applied_adapter {
    const void *context;
    llama_adapter_lora *adapter;
    float scale;
};

std::vector<applied_adapter> adapters_of(const void *context);
std::vector<const void *> contexts_with(const llama_adapter_lora *adapter);
void set_applied(const void *context, const std::vector<applied_adapter> &adapters);

void lock_ownership();
void unlock_ownership();

}  // namespace llamacffi
