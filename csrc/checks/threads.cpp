// See threads.h.
#include "checks/threads.h"

#include "checks/batches.h"
#include "checks/handle_table.h"
#include "checks/ownership.h"
#include "checks/places.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

// How often the calls of this thread are inside of an object, and whether that bars their callbacks from it.
struct own_uses {
    unsigned reading = 0, changing = 0;
    bool inside = false, bars_readers = false, bars_changers = false;

    void add(const entered &one, bool outer) {
        inside |= outer;
        reading += one.how == access::READS;
        changing += one.how == access::CHANGES;
        if (!outer || one.open) return;
        bars_readers |= one.how == access::CHANGES;
        bars_changers |= one.how != access::LOOKS;
    }

    void add(const call &c, const void *address, bool outer) {
        for (unsigned i = 0; i < c.n_inside; ++i) {
            if (c.inside[i].address == address) add(c.inside[i], outer);
        }
        if (!c.extras) return;
        for (const entered &one : c.extras->inside) {
            if (one.address == address) add(one, outer);
        }
    }
};

// The calls of this thread that run this one from a callback stand behind `current`; this one is none of them yet.
own_uses uses_of_this_thread(const call &c, const void *address) {
    own_uses own;
    own.add(c, address, false);
    for (const call *outer = current; outer; outer = outer->previous) own.add(*outer, address, true);
    return own;
}

bool meets_another(const call &c, const handle &one, access how) {
    if (!one.depth || how == access::LOOKS) return false;
    const own_uses own = uses_of_this_thread(c, one.address);
    const bool barred = how == access::CHANGES ? own.bars_changers : own.bars_readers;
    return barred || one.changing > own.changing || (how == access::CHANGES && one.reading > own.reading);
}

// What is entered is the whole that it is a part of: the context of a memory, the chain of a sampler.
handle *whole(handle *one) {
    while (one && one->owner && handle_kinds[one->kind].dies_with_owner) {
        handle *above = handles.find(one->owner);
        if (!above || !handle_kinds[above->kind].exclusive) break;
        one = above;
    }
    return one;
}

void mark(call &c, handle &one, access how, bool open) {
    ++one.depth;
    one.reading += how == access::READS;
    one.changing += how == access::CHANGES;
    const entered inside{one.address, how, open};
    if (c.n_inside < max_parameters)
        c.inside[c.n_inside++] = inside;
    else
        c.more().inside.push_back(inside);
}

void unmark(const entered &inside) {
    handle *one = handles.find(inside.address);
    if (!one || !one->depth) return;
    --one->depth;
    if (inside.how == access::READS && one->reading) --one->reading;
    if (inside.how == access::CHANGES && one->changing) --one->changing;
}

// Act on each object that a call uses, and how; false as soon as `act` says so.
template <typename Act>
bool for_used(const call &c, Act act) {
    for (unsigned i = 0; i < c.function.count; ++i) {
        const parameter_row &row = c.parameters()[i];
        if (row.handle == no_kind) continue;
        // With it what it reads that can change: the context of a batch_ext, the other context of one.
        handle *one = whole(handles.find(c.addresses[i]));
        for (; one; one = one->partner ? handles.find(one->partner) : nullptr) {
            if (!act(row, *one, handle_kinds[one->kind].exclusive ? row.how : access::LOOKS, row.open)) return false;
        }
    }
    for (unsigned i = 0; i < c.function.n_places; ++i) {
        const place_row &place = place_rows[c.function.first_place + i];
        const access how = handle_kinds[place.handle].exclusive ? access::CHANGES : access::LOOKS;
        const bool good = for_handles(c, place, [&](const void *address, size_t) {
            handle *one = address ? whole(handles.find(address)) : nullptr;
            return !one || act(c.parameters()[place.position], *one, how, false);
        });
        if (!good) return false;
    }
    if (!c.function.with_attached) return true;
    const unsigned at = c.function.computes != nowhere ? static_cast<unsigned>(c.function.computes) : 0;
    for (const attachment &attached : all_attachments()) {
        handle *one = attached.context == c.addresses[at] ? whole(handles.find(attached.address)) : nullptr;
        if (one && !act(c.parameters()[at], *one, access::CHANGES, false)) return false;
    }
    return true;
}

}  // namespace

bool refuse_busy(const call &c, const parameter_row &row, const handle &busy) {
    const bool argument = busy.kind == row.handle;
    PyErr_Format(LlamaError, "%s %s%s is in use by %s", subject(c, row).c_str(), argument ? "" : "uses a ",
                 argument ? "" : (std::string(handle_kinds[busy.kind].name) + " that").c_str(),
                 uses_of_this_thread(c, busy.address).inside ? "the call that runs this callback" : "another thread");
    return false;
}

bool enter_handles(call &c) {
    const bool entered = for_used(c, [&](const parameter_row &row, handle &one, access how, bool open) {
        if (meets_another(c, one, how)) return refuse_busy(c, row, one);
        mark(c, one, how, open);
        return true;
    });
    entered ? enter_batch(c) : leave_handles(c);
    return entered;
}

bool ask_handles(const call &c) {
    return for_used(c, [&](const parameter_row &row, handle &one, access how, bool) {
        return !meets_another(c, one, how) || refuse_busy(c, row, one);
    });
}

void leave_marked(call &c) {
    while (c.n_inside) unmark(c.inside[--c.n_inside]);
    if (!c.extras) return;
    for (const entered &one : c.extras->inside) unmark(one);
    c.extras->inside.clear();
    leave_batch(c);
}

void forget_users() {
    handles.for_each([](handle &one) { one.depth = one.reading = one.changing = 0; });
    forget_readers_of_batches();
}

}  // namespace llamacffi
