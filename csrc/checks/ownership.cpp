// See ownership.h.
#include "checks/ownership.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "checks/handle_table.h"
#include "checks/kept.h"
#include "checks/reads.h"
#include "checks/threads.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

std::mutex ownership_mutex;  // of these two; calls that attach run without the GIL
std::vector<attachment> attachments;
std::vector<applied_adapter> applied_adapters;

using guard = std::lock_guard<std::mutex>;

template <typename T, typename Which>
void remove_if(std::vector<T> &all, Which which) {
    all.erase(std::remove_if(all.begin(), all.end(), which), all.end());
}

bool is_attached(const void *address) {
    const guard lock(ownership_mutex);
    return std::any_of(attachments.begin(), attachments.end(),
                       [&](const attachment &one) { return one.address == address; });
}

const handle *busy_with_adapter(const void *adapter) {
    for (const void *context : contexts_with(static_cast<const llama_adapter_lora *>(adapter))) {
        const handle *known = handles.find(context);
        if (known && known->depth) return known;
    }
    return nullptr;
}

// Whether what goes with the freed object, or is it, may go now.
bool can_die(call &c, const parameter_row &row, const handle &one) {
    if (is_attached(one.address))
        return refuse_value(c, row, "is attached to a context, which must let go of it or be freed first");
    if (one.foreign)
        return refuse_value(c, row,
                            "holds a sampler that C did not make: take it out with llama_sampler_chain_remove() first");
    if (one.held) return refuse_held(c, row);
    return !one.depth || refuse_busy(c, row, one);
}

bool refuse_owned(const call &c, const parameter_row &row) {
    return refuse_value(c, row, "belongs to a sampler chain: take it out with llama_sampler_chain_remove() first");
}

// Whether `above` owns `below`, at whatever distance.
bool is_above(const void *above, const void *below) {
    for (const handle *one = handles.find(below); one; one = one->owner ? handles.find(one->owner) : nullptr) {
        if (one->address == above) return true;
    }
    return false;
}

}  // namespace

bool can_free(call &c) {
    const parameter_row &row = c.parameters()[0];
    handle *one = handles.find(c.addresses[0]);
    if (!one || !c.addresses[0]) return true;
    if (one->kind == kind_of_llama_sampler && one->owner) return refuse_owned(c, row);
    if (one->kind == kind_of_mtmd_input_chunk && one->owner)
        return refuse_value(c, row, "belongs to a mtmd_input_chunks, and is freed with it");
    for (const void *dying : with_members(one->address)) {
        if (!can_die(c, row, *handles.find(dying))) return false;
    }
    const handle *busy = busy_with_adapter(one->address);
    return !busy || refuse_busy(c, row, *busy);
}

bool can_take(const call &c) {
    const void *taker = c.addresses[c.function.taker], *taken = c.addresses[c.function.taken];
    const parameter_row &row = c.parameters()[c.function.taken];
    const handle *member = handles.find(taken);
    if (taken == taker || is_above(taken, taker))
        return refuse_value(c, row, "must not be the chain itself, nor hold it");
    return !member || !member->owner || refuse_owned(c, row);
}

void take(call &c) {
    const void *taker = c.addresses[c.function.taker], *taken = c.addresses[c.function.taken];
    const parameter_row &row = c.parameters()[c.function.taken];
    if (handle *member = handles.find(taken)) return handles.set_owner(*member, taker);
    handles.put(taken, row.handle, taker).foreign = true;
    keep_alive(taker, row, c.arguments[c.function.taken], c.more().released);
}

void give_back(const void *address) {
    handle *member = handles.find(address);
    if (!member) return;
    handles.set_owner(*member, nullptr);
    if (member->foreign) member->kind = no_kind;  // it is the caller's alone again
}

// ---------------------------------------------------------------- what contexts use

void attach(const void *context, int slot, const void *address) {
    const guard lock(ownership_mutex);
    remove_if(attachments, [&](const attachment &one) { return one.context == context && one.slot == slot; });
    if (address) attachments.push_back({context, slot, address});
}

void detach_all(const void *context) {
    const guard lock(ownership_mutex);
    remove_if(attachments, [&](const attachment &one) { return one.context == context; });
}

void rename_context(const void *context, const void *name) {
    const guard lock(ownership_mutex);
    for (attachment &one : attachments) one.context = one.context == context ? name : one.context;
    remove_if(applied_adapters, [&](const applied_adapter &one) { return one.context == context; });
}

std::vector<attachment> all_attachments() {
    const guard lock(ownership_mutex);
    return attachments;
}

std::vector<applied_adapter> adapters_of(const void *context) {
    const guard lock(ownership_mutex);
    std::vector<applied_adapter> own = applied_adapters;
    remove_if(own, [&](const applied_adapter &one) { return one.context != context; });
    return own;
}

std::vector<const void *> contexts_with(const llama_adapter_lora *adapter) {
    const guard lock(ownership_mutex);
    std::vector<const void *> contexts;
    for (const applied_adapter &one : applied_adapters) {
        if (one.adapter == adapter) contexts.push_back(one.context);
    }
    return contexts;
}

void set_applied(const void *context, const std::vector<applied_adapter> &adapters) {
    const guard lock(ownership_mutex);
    remove_if(applied_adapters, [&](const applied_adapter &one) { return one.context == context; });
    applied_adapters.insert(applied_adapters.end(), adapters.begin(), adapters.end());
}

void lock_ownership() { ownership_mutex.lock(); }

void unlock_ownership() { ownership_mutex.unlock(); }

}  // namespace llamacffi
