// Which handles are alive, of which kind, and who they belong to.
//
// A handle is the address of something that llama.cpp made. The table learns of it when a function returns it, and
// looks it up whenever it comes back. It is read and written with the GIL held: before C is entered, and after.
//
// Kinds of which every instance passes through the border (`strict`) must be known; of the others an address
// that the table does not know is trusted, since C also hands them out inside structs and to callbacks.
#pragma once

#include <Python.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "call.h"
#include "callbacks.h"
#include "errors.h"

namespace llamacffi {

struct kind_of_handle {
    const char *name;
    bool strict;
    bool dies_with_owner;  // C frees it together with what it belongs to
};

static constexpr kind_of_handle handle_kinds[] = {
    {"", false, false},
    {"llama_model", true, false},
    {"llama_context", true, false},
    {"llama_vocab", true, true},
    {"llama_memory_i", true, true},
    {"llama_adapter_lora", true, true},
    {"llama_batch_ext", true, false},
    {"llama_sampler", false, true},
    {"gguf_context", true, false},
    {"ggml_threadpool", true, false},
    {"ggml_context", false, false},
    {"ggml_backend", false, false},
    {"ggml_backend_device", false, false},
    {"ggml_backend_buffer_type", false, false},
    {"ggml_backend_buffer", false, false},
    {"ggml_backend_sched", false, false},
    {"ggml_backend_event", false, false},
    {"ggml_opt_context", false, false},
    {"ggml_opt_dataset", true, false},
    {"ggml_opt_result", true, false},
    {"ggml_gallocr", false, false},
    {"FILE", false, false},
};

// 0 is a kind that is not tracked.
constexpr uint8_t handle_kind(const char *name) {
    for (uint8_t i = 1; i < sizeof(handle_kinds) / sizeof(handle_kinds[0]); ++i) {
        if (compare(handle_kinds[i].name, name) == 0) return i;
    }
    return 0;
}

constexpr uint8_t model_kind = handle_kind("llama_model");
constexpr uint8_t context_kind = handle_kind("llama_context");
constexpr uint8_t memory_kind = handle_kind("llama_memory_i");
constexpr uint8_t sampler_kind = handle_kind("llama_sampler");
constexpr uint8_t ggml_context_kind = handle_kind("ggml_context");

enum class state : uint8_t { LIVE, BROKEN, FREED };

struct handle {
    const void *address;
    const void *owner;         // the model of a vocab, the chain of a sampler, …
    const function *freed_by;  // by which call it went
    const void *user;          // the thread that is inside
    uint32_t children;         // how many handles have this one as their owner
    uint16_t depth;            // how many calls of that thread are inside
    uint8_t kind;
    state is;
    bool computing;  // a context inside a decode
    bool foreign;    // a sampler that the caller built: C must not free it
};

// Open addressing; what was freed stays, to tell what a stale handle was, until the table grows.
class handle_table {
  public:
    uint64_t generation = 0;  // how many handles have been freed

    handle *find(const void *address) {
        for (size_t at = place(address);; at = (at + 1) & mask_) {
            if (slots_[at].address == address) return &slots_[at];
            if (!slots_[at].address) return nullptr;
        }
    }

    handle &put(const void *address, uint8_t kind, const void *owner) {
        handle *known = find(address);
        if (!known) {
            if (++used_ * 4 > slots_.size() * 3) grow();
            known = &empty_slot(address);
        }
        leave_owner(*known);
        *known = {address, nullptr, nullptr, nullptr, 0, 0, kind, state::LIVE, false, false};
        set_owner(*known, owner);
        return *known;
    }

    void set_owner(handle &one, const void *owner) {
        leave_owner(one);
        handle *above = owner ? find(owner) : nullptr;
        if (above) ++above->children;
        one.owner = owner;
    }

    // Act on what belongs to `address`; most own nothing, and then the table is not walked.
    template <typename Act>
    void for_members(const void *address, Act act) {
        const handle *owner = find(address);
        if (!owner || !owner->children) return;
        for (handle &one : slots_) {
            if (one.address && one.owner == address) act(one);
        }
    }

    // Mark `address` as freed, and with it what C frees together with it.
    void free(const void *address, const function &by) {
        handle *freed = find(address);
        if (!freed) return;
        for_members(address, [&](handle &member) {
            if (member.is != state::FREED && handle_kinds[member.kind].dies_with_owner) free(member.address, by);
        });
        leave_owner(*freed);
        ++generation;
        freed->is = state::FREED;
        freed->freed_by = &by;
    }

    template <typename Act>
    void for_each(Act act) {
        for (handle &one : slots_) {
            if (one.address) act(one);
        }
    }

  private:
    void leave_owner(handle &one) {
        handle *above = one.owner ? find(one.owner) : nullptr;
        if (above && above->children) --above->children;
        one.owner = nullptr;
    }

    size_t place(const void *address) const {
        return (reinterpret_cast<uintptr_t>(address) * 0x9E3779B97F4A7C15ull >> 20) & mask_;
    }

    handle &empty_slot(const void *address) {
        size_t at = place(address);
        while (slots_[at].address) at = (at + 1) & mask_;
        return slots_[at];
    }

    // Twice the size for what lives; the memory of what was freed long ago is given up.
    void grow() {
        std::vector<handle> old(slots_.size());
        old.swap(slots_);
        const auto lives = [](const handle &one) { return one.address && one.is != state::FREED; };
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

    static constexpr size_t smallest = 1024;
    std::vector<handle> slots_ = std::vector<handle>(smallest);
    size_t mask_ = smallest - 1;
    size_t used_ = 0;
};

static handle_table handles;

static std::string described(const handle &one) {
    return std::string(one.is == state::FREED ? "a freed " : "a ") + handle_kinds[one.kind].name;
}

static bool refuse_freed(const call &c, const parameter &row, const handle &one) {
    return refuse_value(
        c, row, "is a " + std::string(handle_kinds[one.kind].name) + " that " + one.freed_by->name + "() has freed");
}

static bool refuse_kind(const call &c, const parameter &row, const std::string &found) {
    return refuse_value(c, row, std::string("must be a live ") + row.type.python + ", not " + found);
}

constexpr uintptr_t first_page = 4096;  // nothing is ever there

// Judge a handle that is not simply alive: the way out of the fast check.
static bool judge_handle(const call &c, const parameter &row, uint8_t kind, const void *address) {
    const handle *known = handles.find(address);
    if (reinterpret_cast<uintptr_t>(address) < first_page)
        return refuse_kind(c, row, "an address that no call returned");
    if (!known) return !handle_kinds[kind].strict || refuse_kind(c, row, "an address that no call returned");
    if (known->kind != kind) {
        if (known->is == state::FREED && !handle_kinds[kind].strict && kind != sampler_kind)
            return true;  // its address is in use again
        return refuse_kind(c, row, described(*known));
    }
    if (known->is == state::FREED) return refuse_freed(c, row, *known);
    if (known->is == state::BROKEN && !c.what.frees) {
        PyErr_Format(LlamaError, "%s is broken by an assertion that failed in an earlier call: it can only be freed",
                     subject(c, row).c_str());
        return false;
    }
    return true;
}

#ifdef LLAMACFFI_UNCHECKED
template <unsigned Row>
static inline bool check_handle(call &, const void *) {
    return true;
}
#else
template <unsigned Row>
static inline bool check_handle(call &c, const void *address) {
    constexpr const parameter &row = llamacffi_parameters[Row];
    constexpr uint8_t kind = handle_kind(row.type.python);
    if constexpr (kind == 0) {
        return true;
    } else {
        const handle *known = handles.find(address);
        if (known && known->kind == kind && known->is == state::LIVE) return true;
        return !address || judge_handle(c, row, kind, address);
    }
}
#endif

// ---------------------------------------------------------------- results

// A function that makes what it returns, as its name says; the others return what is there already.
constexpr bool creates(const function &what) {
    return has_word(what.name, "init") || has_word(what.name, "new") || has_word(what.name, "load") ||
           has_word(what.name, "clone") || has_word(what.name, "alloc") || has_word(what.name, "copy");
}

static const void *first_handle(const call &c) {
    if (!c.what.count) return nullptr;
    const kind first = c.parameters()[0].type.what;
    return first == kind::HANDLE || first == kind::OBJECT ? c.addresses[0] : nullptr;
}

static void remember_borrowed(const call &c, uint8_t kind, const void *address) {
    const handle *known = handles.find(address);
    if (known && known->kind == kind && (known->is != state::FREED || kind == model_kind)) return;
    handles.put(address, kind, handle_kinds[kind].dies_with_owner ? first_handle(c) : nullptr);
}

template <unsigned Function>
static inline void remember_handle(const call &c, const void *address) {
    constexpr const function &what = llamacffi_functions[Function];
    constexpr uint8_t kind = handle_kind(what.result.python);
    if constexpr (kind != 0) {
        if (!address) return;
        if (!creates(what)) return remember_borrowed(c, kind, address);
        const bool belongs = handle_kinds[kind].dies_with_owner && kind != sampler_kind;
        handles.put(address, kind, belongs ? first_handle(c) : nullptr);
    }
}

// gguf_init_* hands a ggml context out through its params, where the table does not see it: an address that a freed
// one had may be alive again.
static void forget_freed_ggml_contexts() {
    handles.for_each([](handle &one) {
        if (one.kind == ggml_context_kind && one.is == state::FREED) one.kind = 0;
    });
}

// ---------------------------------------------------------------- threads

// What names a thread: the address of one of its variables.
static const void *this_thread() { return &current; }

static bool refuse_busy(const call &c, const parameter &row, const handle &busy) {
    const char *reason =
        busy.user == this_thread() ? "is in use by the call that runs this callback" : "is in use by another thread";
    PyErr_Format(LlamaError, "%s %s", subject(c, row).c_str(), reason);
    return false;
}

// The context that a parameter leads to: itself, or the one whose memory it is.
static handle *context_behind(const parameter &row, const void *address) {
    const uint8_t kind = row.type.what == kind::HANDLE ? handle_kind(row.type.python) : 0;
    handle *known = kind == context_kind || kind == memory_kind ? handles.find(address) : nullptr;
    return known && kind == memory_kind ? handles.find(known->owner) : known;
}

constexpr bool is_tracked(const type_row &type) {
    return (type.what == kind::HANDLE || type.what == kind::OBJECT) && handle_kind(type.python) != 0;
}

// Calls that release the GIL mark their handles: nobody may free what a running call uses.
constexpr bool marks_handles(const function &what) {
    if (what.keeps_gil || what.frees) return false;
    for (unsigned i = 0; i < what.count; ++i) {
        if (is_tracked(llamacffi_parameters[what.first + i].type)) return true;
    }
    return false;
}

static bool breaks_context(const function &what) {
    return compare(what.name, "llama_decode") == 0 || compare(what.name, "llama_encode") == 0 ||
           compare(what.name, "llama_process") == 0;
}

// What a callback may do with the context that is decoding: stop it. The getters that keep the GIL are not asked.
static bool may_reenter(const function &what) { return compare(what.name, "llama_set_abort_callback") == 0; }

static void leave_handles(call &c) {
    while (c.n_inside) {
        handle *one = handles.find(c.inside[--c.n_inside]);
        if (!one || !one->depth) continue;
        if (--one->depth == 0) one->computing = false;
    }
}

static void mark(call &c, handle &one) {
    one.user = this_thread();
    one.computing |= one.kind == context_kind && breaks_context(c.what);
    ++one.depth;
    c.inside[c.n_inside++] = one.address;
}

// Mark what this call uses as in use by this thread, or refuse if another one is inside the same context.
static bool enter_handles(call &c) {
    for (unsigned i = 0; i < c.what.count; ++i) {
        const parameter &row = c.parameters()[i];
        if (!is_tracked(row.type)) continue;
        handle *context = context_behind(row, c.addresses[i]);
        if (context && context->depth &&
            (context->user != this_thread() || (context->computing && !may_reenter(c.what))))
            return leave_handles(c), refuse_busy(c, row, *context);
        handle *one = context ? context : handles.find(c.addresses[i]);
        if (one) mark(c, *one);
    }
    return true;
}

// Converting a later argument can run Python code, and that can free an earlier one.
static bool check_again(const call &c) {
    for (unsigned i = 0; i < c.what.count; ++i) {
        const parameter &row = c.parameters()[i];
        const handle *known = is_tracked(row.type) ? handles.find(c.addresses[i]) : nullptr;
        if (known && known->is == state::FREED) return refuse_freed(c, row, *known);
    }
    return true;
}

// In a child of fork() the threads that were inside are gone.
static void forget_users() {
    handles.for_each([](handle &one) { one.depth = 0; });
}

// ---------------------------------------------------------------- freeing and owning

// Functions with one handle, which they free.
constexpr bool is_free_of_one(const function &what) {
    return what.frees && what.count == 1 && handle_kind(llamacffi_parameters[what.first].type.python) != 0;
}

static bool refuse_owned(const call &c, const parameter &row) {
    return refuse_value(c, row, "belongs to a sampler chain: take it out with llama_sampler_chain_remove() first");
}

// What a context uses without owning it: thread pools and samplers. They cannot be freed before it lets go.
struct attachment {
    const void *context;
    int slot;  // the sequence of a sampler; a thread pool stands below zero
    const void *address;
};

static std::mutex attachments_mutex;
static std::vector<attachment> attachments;

template <typename Which>
static void detach(Which which) {
    const std::lock_guard<std::mutex> lock(attachments_mutex);
    attachments.erase(std::remove_if(attachments.begin(), attachments.end(), which), attachments.end());
}

static void attach(const void *context, int slot, const void *address) {
    detach([&](const attachment &a) { return a.context == context && a.slot == slot; });
    const std::lock_guard<std::mutex> lock(attachments_mutex);
    if (address) attachments.push_back({context, slot, address});
}

static bool is_attached(const void *address) {
    const std::lock_guard<std::mutex> lock(attachments_mutex);
    return std::any_of(attachments.begin(), attachments.end(),
                       [&](const attachment &a) { return a.address == address; });
}

// The adapters that a context applies. C keeps no count of them, so one that is freed is taken out of its contexts
// first.
struct applied_adapter {
    const void *context;
    llama_adapter_lora *adapter;
    float scale;
};

static std::mutex adapters_mutex;
static std::vector<applied_adapter> applied_adapters;

static const handle *busy_with_adapter(const void *adapter) {
    const std::lock_guard<std::mutex> lock(adapters_mutex);
    for (const applied_adapter &one : applied_adapters) {
        const handle *context = one.adapter == adapter ? handles.find(one.context) : nullptr;
        if (context && context->depth) return context;
    }
    return nullptr;
}

static bool holds_foreign(const void *chain) {
    bool found = false;
    handles.for_members(chain, [&](const handle &member) { found |= member.foreign; });
    return found;
}

// Whether the one argument of a freeing function may be freed now. It is then marked before C is entered, so that no
// other thread can use it from here on.
static bool can_free(const call &c) {
    const parameter &row = c.parameters()[0];
    handle *one = handles.find(c.addresses[0]);
    if (!one || !c.addresses[0]) return true;
    if (one->kind == sampler_kind && one->owner) return refuse_owned(c, row);
    if (is_attached(one->address))
        return refuse_value(c, row, "is attached to a context, which must let go of it or be freed first");
    if (one->kind == sampler_kind && holds_foreign(one->address))
        return refuse_value(c, row,
                            "holds a sampler that C did not make: take it out with llama_sampler_chain_remove() first");
    if (one->depth) return refuse_busy(c, row, *one);
    const handle *busy = busy_with_adapter(one->address);
    handles.for_members(one->address, [&](const handle &member) { busy = member.depth ? &member : busy; });
    return !busy || refuse_busy(c, row, *busy);
}

// Whether `sampler` owns `chain`, at whatever distance.
static bool is_above(const void *sampler, const void *chain) {
    for (const handle *one = handles.find(chain); one; one = one->owner ? handles.find(one->owner) : nullptr) {
        if (one->address == sampler) return true;
    }
    return false;
}

// llama_sampler_chain_add(chain, sampler): from here on the chain owns the sampler.
static bool own_sampler(call &c) {
    const void *chain = c.addresses[0], *sampler = c.addresses[1];
    const parameter &row = c.parameters()[1];
    handle *member = handles.find(sampler);
    if (sampler == chain || is_above(sampler, chain))
        return refuse_value(c, row, "must not be the chain itself, nor hold it");
    if (member && member->owner) return refuse_owned(c, row);
    if (member) {
        handles.set_owner(*member, chain);
        return true;
    }
    handles.put(sampler, sampler_kind, chain).foreign = true;
    keep(chain, row, c.arguments[1], false);
    return true;
}

static void disown_sampler(const void *sampler) {
    handle *member = handles.find(sampler);
    if (!member) return;
    handles.set_owner(*member, nullptr);
    if (member->foreign) member->kind = 0;  // it is the caller's alone again
}

}  // namespace llamacffi
