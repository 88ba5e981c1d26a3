// Batches: which ones `llama_batch_init` made, how much they hold, and what a decode may read of them.
//
// A batch is a struct that the caller holds, and may put arrays of its own into. What tells one from another is the
// memory that `llama_batch_init` gave it. The functions are named in bindgen/policy.toml, and declared in the generated
// tables.
#include "checks/batches.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string>
#include <unordered_map>
#include <vector>

#include "checks/handle_table.h"
#include "core/ctypes_objects.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

struct made_batch {
    llama_batch original;
    int32_t n_tokens, embd, n_seq_max;
    std::vector<llama_seq_id *> seq_ids;
    unsigned readers = 0;
};

std::unordered_map<const void *, made_batch> batches;  // by `pos`; touched with the border's lock held

bool is_of(const made_batch &made, const llama_batch &batch) {
    const llama_batch &own = made.original;
    return batch.pos == own.pos || batch.n_seq_id == own.n_seq_id || batch.seq_id == own.seq_id ||
           batch.logits == own.logits || (own.token && batch.token == own.token) ||
           (own.embd && batch.embd == own.embd);
}

// The batch that it was made as, whichever members were put into it since; `end()` where it was not made here.
auto find_made(const llama_batch &batch) {
    auto found = batches.find(batch.pos);
    if (found != batches.end()) return found;
    return std::find_if(batches.begin(), batches.end(), [&](const auto &one) { return is_of(one.second, batch); });
}

const llama_batch &batch_in(const call &c, unsigned position) {
    return *static_cast<const llama_batch *>(c.memory[position]);
}

// How many tokens the buffer has that a `llama_batch_get_one` batch was made of, or SIZE_MAX.
size_t tokens_behind(PyObject *given, const llama_batch &batch) {
    PyObject *kept = own_attribute(given, buffers_name);
    Py_buffer view;
    size_t size = SIZE_MAX;
    if (kept && PyObject_CheckBuffer(kept) && metatype(kept) != pointer_type &&
        PyObject_GetBuffer(kept, &view, PyBUF_SIMPLE) == 0) {
        if (view.buf == batch.token) size = static_cast<size_t>(view.len) / sizeof(llama_token);
        PyBuffer_Release(&view);
    }
    Py_XDECREF(kept);
    PyErr_Clear();
    return size;
}

// The arrays of a batch, in one order.
constexpr const char *member_names[] = {"token", "embd", "pos", "n_seq_id", "seq_id", "logits"};
constexpr size_t n_members = std::size(member_names);
using members = std::array<const void *, n_members>;

members members_of(const llama_batch &batch) {
    return {batch.token, batch.embd, batch.pos, batch.n_seq_id, batch.seq_id, batch.logits};
}

bool is_as_made(const llama_batch &batch, const llama_batch &own) { return members_of(batch) == members_of(own); }

// As `llama_batch_init` made it, or of nothing.
llama_batch original_of(const llama_batch &batch) {
    const auto found = find_made(batch);
    return found == batches.end() ? llama_batch{} : found->second.original;
}

// What Python knows of a batch. It is asked before anything else: the caller's code, or another thread, may free the
// batch meanwhile.
struct given_batch {
    llama_batch original;  // before Python was asked
    bool is_struct;
    PyObject *objects;                     // what the caller has put into the struct, or nullptr
    size_t tokens = SIZE_MAX;              // behind one of llama_batch_get_one
    std::array<size_t, n_members> behind;  // how many items each array has that is the caller's

    given_batch(const call &c, unsigned position, const llama_batch &batch)
        : original(original_of(batch)),
          is_struct(metatype(c.arguments[position]) == struct_type),
          objects(c.held_by(c.parameters()[position])) {
        if (objects && !PyTuple_Size(objects)) objects = nullptr;
        const members all = members_of(batch);
        for (size_t i = 0; i < n_members; ++i) behind[i] = objects && all[i] ? items_behind(objects, all[i]) : SIZE_MAX;
        if (!original.pos) tokens = tokens_behind(c.arguments[position], batch);
    }
};

// Behind each array as many items as C reads: in what `llama_batch_init` gave, and in arrays of the caller's.
bool check_members(const call &c, const parameter_row &row, const given_batch &given, const llama_context *ctx,
                   const llama_batch &batch, const made_batch *made) {
    static const made_batch none{};
    const made_batch &own = made ? *made : none;
    const size_t n = static_cast<size_t>(batch.n_tokens), has = static_cast<size_t>(own.n_tokens);
    const size_t width = batch.embd ? static_cast<size_t>(llama_model_n_embd_inp(llama_get_model(ctx))) : 1;
    const members now = members_of(batch), original = members_of(own.original);
    const size_t wanted[n_members] = {n, n * width, n, n, n, n};
    const size_t of_made[n_members] = {has, has * static_cast<size_t>(own.embd), has, has, has, has};
    for (size_t i = 0; i < n_members; ++i) {
        const size_t holds = now[i] == original[i] ? of_made[i] : given.behind[i];
        if (!now[i] || wanted[i] <= holds) continue;
        return refuse_value(c, row,
                            std::string("needs ") + std::to_string(wanted[i]) + " items in " + member_names[i] +
                                " for its n_tokens, but that holds " + std::to_string(holds));
    }
    return true;
}

bool refuse_batch(const call &c, const parameter_row &row, const llama_batch &batch, size_t holds) {
    return refuse_value(c, row,
                        "has n_tokens = " + std::to_string(batch.n_tokens) + ", but holds " + std::to_string(holds));
}

bool refuse_at(const call &c, const parameter_row &row, const char *field, int32_t index, const std::string &found) {
    return refuse_value(c, row, std::string("has at ") + field + "[" + std::to_string(index) + "] " + found);
}

// Sequence ids and positions in range, and behind every pointer what C reads there.
bool check_sequences(const call &c, const parameter_row &row, const llama_context *ctx, const llama_batch &batch,
                     const made_batch *made) {
    const int32_t n_seq_max = static_cast<int32_t>(llama_n_seq_max(ctx));
    if (batch.n_seq_id && !batch.seq_id) return refuse_value(c, row, "has n_seq_id but no seq_id");
    for (int32_t i = 0; i < batch.n_tokens; ++i) {
        if (batch.pos && batch.pos[i] < 0) return refuse_at(c, row, "pos", i, std::to_string(batch.pos[i]));
        if (!batch.n_seq_id) continue;
        const int32_t count = batch.n_seq_id[i], most = made ? std::min(made->n_seq_max, n_seq_max) : n_seq_max;
        if (count < 1 || count > most)
            return refuse_at(c, row, "n_seq_id", i, std::to_string(count) + ", not 1 to " + std::to_string(most));
        if (!batch.seq_id[i]) return refuse_at(c, row, "seq_id", i, "NULL");
        for (int32_t k = 0; k < count; ++k) {
            if (batch.seq_id[i][k] < 0 || batch.seq_id[i][k] >= n_seq_max)
                return refuse_at(c, row, "seq_id", i,
                                 std::to_string(batch.seq_id[i][k]) + ", not below the context's n_seq_max");
        }
    }
    return true;
}

// Embeddings as wide as the model's, and positions as many as its RoPE reads.
bool check_embeddings(const call &c, const parameter_row &row, const llama_context *ctx, const llama_batch &batch,
                      const made_batch *made) {
    if (!batch.embd || !made) return true;
    const llama_model *model = llama_get_model(ctx);
    const int32_t wanted = llama_model_n_embd_inp(model);
    if (batch.embd == made->original.embd && made->embd != wanted)
        return refuse_value(c, row,
                            "holds embeddings of " + std::to_string(made->embd) + " numbers, where the model has " +
                                std::to_string(wanted));
    const llama_rope_type rope = llama_model_rope_type(model);
    const bool several = rope == LLAMA_ROPE_TYPE_MROPE || rope == LLAMA_ROPE_TYPE_IMROPE;
    if (!several || batch.pos != made->original.pos) return true;
    return refuse_value(
        c, row, "has one position a token, where embeddings of this model have four: set pos to an array of them");
}

// A struct that nobody has put anything into, and whose arrays are not those of the batch at its address, is the copy
// of one that was freed.
bool is_stale(const given_batch &given, const llama_batch &batch, const llama_batch &now) {
    const auto differs = [](const void *one, const void *other) { return one && one != other; };
    return given.is_struct && !given.objects &&
           (differs(batch.token, now.token) || differs(batch.embd, now.embd) || differs(batch.n_seq_id, now.n_seq_id) ||
            differs(batch.seq_id, now.seq_id) || differs(batch.logits, now.logits));
}

bool refuse_read(const call &c, const parameter_row &row, const void *batch) {
    bool own = false;
    for (const call *outer = current; outer; outer = outer->previous)
        own |= outer->extras && outer->extras->reads_batch && outer->extras->batch == batch;
    PyErr_Format(LlamaError, "%s is in use by %s", subject(c, row).c_str(),
                 own ? "the call that runs this callback" : "another thread");
    return false;
}

}  // namespace

// Before a decode: as many tokens as the batch has room for, and something to read them from.
bool check_batch(call &c, unsigned position) {
    const parameter_row &row = c.parameters()[position];
    const llama_batch &batch = batch_in(c, position);
    if (batch.n_tokens <= 0) return true;  // C says so itself
    if (!batch.token && !batch.embd) return refuse_value(c, row, "has neither token nor embd");
    const given_batch given(c, position, batch);
    if (!still_alive(c)) return false;
    const auto known = find_made(batch);
    const made_batch *made = known == batches.end() ? nullptr : &known->second;
    if (!is_as_made(original_of(batch), given.original)) return refuse_value(c, row, "is freed already");
    if (batch.pos && !made && given.is_struct && !given.objects)
        return refuse_value(c, row, "was not made by llama_batch_init(), or is freed already");
    if (made && is_stale(given, batch, made->original))
        return refuse_value(c, row, "is freed already, and another batch has its place");
    if (made) c.more().batch = known->first;
    const size_t holds = made ? static_cast<size_t>(made->n_tokens) : given.tokens;
    if (!given.objects && static_cast<size_t>(batch.n_tokens) > holds) return refuse_batch(c, row, batch, holds);
    const auto *ctx = static_cast<const llama_context *>(c.addresses[c.function.computes]);
    return check_embeddings(c, row, ctx, batch, made) && check_members(c, row, given, ctx, batch, made) &&
           check_sequences(c, row, ctx, batch, made);
}

// Before llama_batch_free: only what llama_batch_init made, and only once. What it made is freed, not what the caller
// has put in its place.
bool check_own_batch(call &c, unsigned position) {
    llama_batch &batch = *static_cast<llama_batch *>(const_cast<void *>(c.memory[position]));
    if (!batch.pos && !batch.token && !batch.embd) return true;  // nothing to free
    const auto found = find_made(batch);
    if (found == batches.end())
        return refuse_value(c, c.parameters()[position], "was not made by llama_batch_init(), or is freed already");
    if (found->second.readers) return refuse_read(c, c.parameters()[position], found->first);
    batch = found->second.original;
    std::copy(found->second.seq_ids.begin(), found->second.seq_ids.end(), batch.seq_id);
    batches.erase(found);
    return true;
}

void remember_batch(call &c, const void *result) {
    const auto &batch = *static_cast<const llama_batch *>(result);
    if (!batch.pos) return;
    const int32_t n_tokens = static_cast<int32_t>(c.numbers[0]);
    batches[batch.pos] = {batch, n_tokens, static_cast<int32_t>(c.numbers[1]), static_cast<int32_t>(c.numbers[2]),
                          std::vector<llama_seq_id *>(batch.seq_id, batch.seq_id + n_tokens)};
}

namespace {

// It is written where the batch was made; what the caller has put into its `seq_id` gives way.
void fill(const made_batch &made, const batch_items &items) {
    const llama_batch &own = made.original;
    std::copy_n(items.tokens, items.count, own.token);
    std::copy_n(items.pos, items.count, own.pos);
    std::copy_n(items.logits, items.count, own.logits);
    std::fill_n(own.n_seq_id, items.count, static_cast<int32_t>(items.per_token));
    std::copy_n(made.seq_ids.begin(), items.count, own.seq_id);
    for (size_t i = 0; i < items.count; ++i)
        std::copy_n(items.seq_ids + i * items.per_token, items.per_token, own.seq_id[i]);
}

}  // namespace

bool fill_made_batch(const call &c, const batch_items &items) {
    const parameter_row &row = c.parameters()[0];
    const llama_batch &batch = batch_in(c, 0);
    const auto found = find_made(batch);
    if (found == batches.end()) return refuse_value(c, row, "was not made by llama_batch_init(), or is freed already");
    const made_batch &made = found->second;
    if (!is_as_made(batch, made.original))
        return refuse_value(c, row, "has an array that llama_batch_init() did not give it: fill that one yourself");
    if (!batch.token) return refuse_value(c, row, "was made for embeddings: give llama_batch_init() an embd of 0");
    if (made.readers) return refuse_read(c, row, found->first);
    if (items.count > static_cast<size_t>(made.n_tokens))
        return refuse_value(
            c, row,
            "has room for " + std::to_string(made.n_tokens) + " tokens, not for " + std::to_string(items.count));
    if (items.per_token > static_cast<size_t>(made.n_seq_max))
        return refuse_value(c, row,
                            "has room for " + std::to_string(made.n_seq_max) + " sequences of a token, not for " +
                                std::to_string(items.per_token));
    fill(made, items);
    return true;
}

void enter_batch(call &c) {
    if (!c.extras || !c.extras->batch) return;
    ++batches.at(c.extras->batch).readers;
    c.extras->reads_batch = true;
}

void leave_batch(call &c) {
    if (!c.extras->reads_batch) return;
    c.extras->reads_batch = false;
    const auto found = batches.find(c.extras->batch);
    if (found != batches.end() && found->second.readers) --found->second.readers;
}

void forget_readers_of_batches() {
    for (auto &one : batches) one.second.readers = 0;
}

}  // namespace llamacffi
