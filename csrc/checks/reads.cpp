// See reads.h.
#include "checks/reads.h"

#include <algorithm>
#include <unordered_map>

#include "checks/handle_table.h"
#include "checks/kept.h"

namespace llamacffi {

namespace {

std::unordered_map<const void *, std::vector<const void *>> read_by;  // what each reader reads

handle *outliving(const void *address) {
    handle *one = address ? handles.find(address) : nullptr;
    while (one && (!handle_kinds[one->kind].lives_on || one->owner))
        one = one->owner ? handles.find(one->owner) : nullptr;
    return one;
}

void end(const void *address, call_extras &more);

// A reader is gone; with the last one goes what the caller has freed before.
void leave(const void *address, call_extras &more) {
    handle *one = handles.find(address);
    if (!one || !one->readers || --one->readers || one->life != life::FREED) return;
    more.unread.push_back({one->kind, address});
    end(address, more);
}

// `address` ends now: what it keeps is given up, and what it reads has one reader less.
void end(const void *address, call_extras &more) {
    take_kept(address, more.released);
    auto found = read_by.find(address);
    if (found == read_by.end()) return;
    const std::vector<const void *> all = std::move(found->second);
    read_by.erase(found);
    for (const void *one : all) leave(one, more);
}

}  // namespace

void read_on(const void *reader, const void *address) {
    handle *one = outliving(address);
    if (!one || reads(reader, one->address)) return;
    read_by[reader].push_back(one->address);
    ++one->readers;
    handle *own = handles.find(reader);
    if (own && handle_kinds[one->kind].exclusive) own->partner = one->address;
}

void read_instead(const void *reader, uint8_t kind, const void *address, call_extras &more) {
    if (address && reads(reader, address)) return;
    std::vector<const void *> &all = read_by[reader];
    const auto is_replaced = [kind](const void *one) { return handles.find(one)->kind == kind; };
    const auto kept = std::stable_partition(all.begin(), all.end(), [&](const void *one) { return !is_replaced(one); });
    const std::vector<const void *> replaced(kept, all.end());
    all.erase(kept, all.end());
    if (handle *own = handles.find(reader)) own->partner = nullptr;
    if (address) read_on(reader, address);
    for (const void *one : replaced) leave(one, more);
}

void copy_reads(const void *copy, const void *original) {
    for (const void *one : with_members(original)) {
        copy_kept(copy, one);
        auto found = read_by.find(one);
        if (one == copy || found == read_by.end()) continue;
        const std::vector<const void *> all = found->second;
        for (const void *read : all) read_on(copy, read);
    }
}

bool reads(const void *reader, const void *address) {
    auto found = read_by.find(reader);
    return found != read_by.end() &&
           std::find(found->second.begin(), found->second.end(), address) != found->second.end();
}

const void *read_of_kind(const void *reader, uint8_t kind) {
    auto found = read_by.find(reader);
    if (found == read_by.end()) return nullptr;
    const std::vector<const void *> &all = found->second;
    const auto one = std::find_if(all.begin(), all.end(), [kind](const void *read) {
        const handle *known = handles.find(read);
        return known && known->kind == kind;
    });
    return one == all.end() ? nullptr : *one;
}

std::vector<const void *> with_members(const void *address) {
    std::vector<const void *> all{address};
    for (size_t at = 0; at < all.size(); ++at) {
        const void *owner = all[at];
        handles.for_members(owner, [&](const handle &member) {
            if (member.life != life::FREED && handle_kinds[member.kind].dies_with_owner) all.push_back(member.address);
        });
    }
    return all;
}

void begin_end(const void *address, const function_row &by, call_extras &more) {
    const handle *freed = handles.find(address);
    more.deferred = freed && freed->readers;
    const std::vector<const void *> all = with_members(address);
    handles.free(address, by);
    for (const void *one : all) {
        if (!more.deferred || one != address) end(one, more);
    }
}

}  // namespace llamacffi
