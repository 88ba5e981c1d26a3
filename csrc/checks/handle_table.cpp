// See handle_table.h.
#include "checks/handle_table.h"

#include <algorithm>

#include "checks/chains.h"
#include "checks/ownership.h"
#include "checks/places.h"
#include "checks/reads.h"
#include "core/errors.h"

namespace llamacffi {

handle_table handles;

handle &handle_table::put(const void *address, uint8_t kind, const void *owner) {
    handle *known = find(address);
    if (!known) {
        if (++used_ * 4 > slots_.size() * 3) grow();
        known = &empty_slot(address);
    }
    leave_owner(*known);
    *known = handle{};
    known->address = address;
    known->kind = kind;
    set_owner(*known, owner);
    return *known;
}

void handle_table::set_owner(handle &one, const void *owner) {
    leave_owner(one);
    handle *above = owner ? find(owner) : nullptr;
    if (above) ++above->children;
    one.owner = owner;
}

void handle_table::free(const void *address, const function_row &by) {
    handle *freed = find(address);
    if (!freed) return;
    for_members(address, [&](handle &member) {
        if (member.life != life::FREED && handle_kinds[member.kind].dies_with_owner) free(member.address, by);
    });
    leave_owner(*freed);
    ++generation;
    freed->life = life::FREED;
    freed->freed_by = &by;
}

void handle_table::leave_owner(handle &one) {
    handle *above = one.owner ? find(one.owner) : nullptr;
    if (above && above->children) --above->children;
    one.owner = nullptr;
}

handle &handle_table::empty_slot(const void *address) {
    size_t at = place(address);
    while (slots_[at].address) at = (at + 1) & mask_;
    return slots_[at];
}

// Twice the size for what lives, and for what was freed, unless that has become too much: then it is given up.
void handle_table::grow() {
    std::vector<handle> old(slots_.size());
    old.swap(slots_);
    const auto is_freed = [](const handle &one) { return one.life == life::FREED && !one.readers; };
    const bool keeps_freed = std::count_if(old.begin(), old.end(), is_freed) <= most_freed;
    const auto lives = [&](const handle &one) { return one.address && (keeps_freed || !is_freed(one)); };
    const size_t live = static_cast<size_t>(std::count_if(old.begin(), old.end(), lives));
    size_t size = smallest;
    while (size < live * 4) size *= 2;
    slots_.assign(size, handle{});
    mask_ = size - 1;
    used_ = live + 1;
    for (const handle &one : old) {
        if (lives(one)) empty_slot(one.address) = one;
    }
}

// ---------------------------------------------------------------- judging

namespace {

constexpr uintptr_t first_page = 4096;  // nothing is ever there

std::string described(const handle &one) {
    return std::string(one.life == life::FREED ? "a freed " : "a ") + handle_kinds[one.kind].name;
}

bool refuse_broken(const call &c, const parameter_row &row) {
    PyErr_Format(LlamaError, "%s is broken by an assertion that failed in an earlier call: it can only be freed",
                 subject(c, row).c_str());
    return false;
}

}  // namespace

bool refuse_freed(const call &c, const parameter_row &row, const handle &one) {
    return refuse_value(
        c, row, "is a " + std::string(handle_kinds[one.kind].name) + " that " + one.freed_by->name + "() has freed");
}

bool refuse_kind(const call &c, const parameter_row &row, const std::string &found) {
    return refuse_value(c, row, std::string("must be a live ") + row.type.python + ", not " + found);
}

bool is_registered(uint8_t kind, const void *address) {
    if (kind != kind_of_ggml_backend_device) return false;
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        if (ggml_backend_dev_get(i) == address) return true;
    }
    return false;
}

bool judge_handle(const call &c, const parameter_row &row, const void *address) {
    const handle *known = handles.find(address);
    const bool strict = handle_kinds[row.handle].known;
    if (reinterpret_cast<uintptr_t>(address) < first_page)
        return refuse_kind(c, row, "an address that no call returned");
    if (is_registered(row.handle, address)) return true;
    if (!known) return !strict || refuse_kind(c, row, "an address that no call returned");
    if (known->kind != row.handle) return refuse_kind(c, row, described(*known));
    if (known->life == life::FREED) return refuse_freed(c, row, *known);
    return known->life != life::BROKEN || c.function.frees != nowhere || refuse_broken(c, row);
}

bool check_again(const call &c) {
    for (unsigned i = 0; i < c.function.count; ++i) {
        const parameter_row &row = c.parameters()[i];
        const handle *known = row.handle != no_kind ? handles.find(c.addresses[i]) : nullptr;
        if (known && known->life == life::FREED) return refuse_freed(c, row, *known);
        if (known && known->life == life::BROKEN && c.function.frees == nowhere) return refuse_broken(c, row);
    }
    return true;
}

// ---------------------------------------------------------------- results

namespace {

const void *owner_of_result(const call &c) {
    return c.function.owner != nowhere ? c.addresses[c.function.owner] : nullptr;
}

}  // namespace

void remember_created(const call &c, const void *address) {
    handles.put(address, c.function.result_handle, owner_of_result(c));
    remember_filled(c);
    for (const void *one : read_in(c)) read_on(address, one);
    if (c.function.copies == nowhere) return;
    copy_reads(address, c.addresses[c.function.copies]);
    adopt_members(address);
}

namespace {

// A sampler that the table does not know yet is out of the copy of a chain: what it reads is among what the copy reads.
void put_borrowed(const void *address, uint8_t kind, const void *owner) {
    handles.put(address, kind, owner);
    const handle *above = owner ? handles.find(owner) : nullptr;
    if (above && above->kind == kind) copy_reads(address, owner);
}

}  // namespace

void remember_borrowed(const call &c, const void *address) {
    const handle *known = handles.find(address);
    const uint8_t kind = c.function.result_handle;
    const bool has_owner = c.function.owner != nowhere;  // which is alive, and so is what it holds
    const bool lives_on = handle_kinds[kind].lives_on && !has_owner;
    const bool stays = known && known->kind == kind && (known->life != life::FREED || lives_on);
    if (!stays) put_borrowed(address, kind, owner_of_result(c));
    if (c.function.gives_back) give_back(address);
}

}  // namespace llamacffi
