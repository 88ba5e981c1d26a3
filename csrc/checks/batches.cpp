// Batches: which ones `llama_batch_init` made, how much they hold, and what a decode may read of them.
//
// A batch is a struct that the caller holds, so what tells one from another is the memory behind it: its `pos`
// array, which `llama_batch_init` always allocates and `llama_batch_get_one` never has. The functions are named in
// bindgen/policy.toml, and declared in the generated tables.
#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>

#include "core/ctypes_objects.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

struct batch_size {
    int32_t n_tokens, embd, n_seq_max;
};

std::unordered_map<const void *, batch_size> batches;  // by `pos`; touched with the GIL held

bool refuse_batch(const call &c, const parameter_row &row, const llama_batch &batch, size_t holds) {
    return refuse_value(c, row,
                        "has n_tokens = " + std::to_string(batch.n_tokens) + ", but holds " + std::to_string(holds));
}

// How many tokens the buffer has that a `llama_batch_get_one` batch was made of, or SIZE_MAX.
size_t tokens_behind(PyObject *given, const llama_batch &batch) {
    PyObject *kept = PyObject_GetAttrString(given, "_buffers");
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

// Whether the caller has put arrays of its own into the struct.
bool refers_to_objects(PyObject *given) {
    PyObject *objects = PyObject_GetAttrString(given, "_objects");
    const bool refers = objects && PyDict_Check(objects) && PyDict_Size(objects) > 0;
    Py_XDECREF(objects);
    PyErr_Clear();
    return refers;
}

bool refuse_at(const call &c, const parameter_row &row, const char *field, int32_t index, const std::string &found) {
    return refuse_value(c, row, std::string("has at ") + field + "[" + std::to_string(index) + "] " + found);
}

// Sequence ids and positions in range, and behind every pointer what C reads there.
bool check_sequences(const call &c, const parameter_row &row, const llama_context *ctx, const llama_batch &batch,
                     const batch_size *made) {
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
                      const batch_size *made) {
    if (!batch.embd || !made || !made->embd) return true;
    const llama_model *model = llama_get_model(ctx);
    const int32_t wanted = llama_model_n_embd_inp(model);
    if (made->embd != wanted)
        return refuse_value(c, row,
                            "holds embeddings of " + std::to_string(made->embd) + " numbers, where the model has " +
                                std::to_string(wanted));
    const llama_rope_type rope = llama_model_rope_type(model);
    if (rope != LLAMA_ROPE_TYPE_MROPE && rope != LLAMA_ROPE_TYPE_IMROPE) return true;
    return refuse_value(
        c, row, "has one position a token, where embeddings of this model have four: set pos to an array of them");
}

}  // namespace

// Before a decode: as many tokens as the batch has room for, and something to read them from.
bool check_batch(call &c, unsigned position) {
    const parameter_row &row = c.parameters()[position];
    PyObject *given = c.arguments[position];
    if (metatype(given) != struct_type) return true;  // cdata: what the caller builds there is the caller's
    llama_batch batch;
    std::memcpy(&batch, memory_of(given), sizeof batch);
    if (batch.n_tokens <= 0) return true;  // C says so itself
    if (!batch.token && !batch.embd) return refuse_value(c, row, "has neither token nor embd");
    auto known = batches.find(batch.pos);
    if (batch.pos && known == batches.end() && !refers_to_objects(given))
        return refuse_value(c, row, "was not made by llama_batch_init(), or is freed already");
    const batch_size *made = known == batches.end() ? nullptr : &known->second;
    const size_t holds = made ? static_cast<size_t>(made->n_tokens) : tokens_behind(given, batch);
    if (static_cast<size_t>(batch.n_tokens) > holds) return refuse_batch(c, row, batch, holds);
    const auto *ctx = static_cast<const llama_context *>(c.addresses[c.function.computes]);
    return check_embeddings(c, row, ctx, batch, made) && check_sequences(c, row, ctx, batch, made);
}

// Before llama_batch_free: only what llama_batch_init made, and only once.
bool check_own_batch(call &c, unsigned position) {
    const parameter_row &row = c.parameters()[position];
    PyObject *given = c.arguments[position];
    if (metatype(given) != struct_type) return true;
    llama_batch batch;
    std::memcpy(&batch, memory_of(given), sizeof batch);
    if (!batch.pos && !batch.token && !batch.embd) return true;  // nothing to free
    if (batches.erase(batch.pos)) return true;
    return refuse_value(c, row, "was not made by llama_batch_init(), or is freed already");
}

void remember_batch(call &c, const void *result) {
    const auto &batch = *static_cast<const llama_batch *>(result);
    if (batch.pos) batches[batch.pos] = {int32_t(c.numbers[0]), int32_t(c.numbers[1]), int32_t(c.numbers[2])};
}

}  // namespace llamacffi
