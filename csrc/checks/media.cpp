// Checks of single functions of mtmd, which bindgen/policy.toml names.
#include <string>

#include "checks/handle_table.h"
#include "checks/places.h"
#include "checks/reads.h"
#include "checks/threads.h"
#include "core/ctypes_objects.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

// How many bytes a struct, or what `byref` refers to, keeps for the text that one of its fields points to, or SIZE_MAX.
size_t bytes_kept(PyObject *given, const char *text) {
    PyObject *referred = Py_TYPE(given) == byref_type ? attribute(given, "_obj") : nullptr;
    PyObject *own = referred ? referred : given;
    PyObject *objects = metatype(own) == struct_type ? attribute(own, "_objects") : nullptr;
    const size_t has = objects ? items_behind(objects, text) : SIZE_MAX;
    Py_XDECREF(objects);
    Py_XDECREF(referred);
    PyErr_Clear();
    return has;
}

// Python is asked, and so the bitmaps again: the caller's code, or another thread, may have freed one.
bool check_text(const call &c, unsigned position, const char *field, const char *text, size_t length) {
    const size_t has = bytes_kept(c.arguments[position], text);
    if (length <= has) return check_places(c);
    return refuse_value(c, c.parameters()[position],
                        std::string("has ") + field + "_len = " + std::to_string(length) + ", but " + field +
                            " holds " + std::to_string(has) + " bytes");
}

bool is_live_bitmap(const void *address) {
    const handle *known = handles.find(address);
    return known && known->kind == kind_of_mtmd_bitmap && known->life == life::LIVE;
}

}  // namespace

bool check_input_text(call &c, unsigned position) {
    const auto &given = *static_cast<const mtmd_input_text *>(c.memory[position]);
    return check_text(c, position, "text", given.text, given.text_len);
}

bool check_prompt(call &c, unsigned position) {
    const auto &given = *static_cast<const mtmd_helper_gen_audio_inp *>(c.memory[position]);
    return check_text(c, position, "prompt", given.prompt, given.prompt_len);
}

// That none is NULL has been asked already. Their number is the next argument.
bool check_input_parts(call &c, unsigned position) {
    const auto *parts = static_cast<const mtmd_input_part *const *>(c.memory[position]);
    for (long long i = 0; parts && i < c.numbers[position + 1]; ++i) {
        if (!parts[i]->bitmap || is_live_bitmap(parts[i]->bitmap)) continue;
        return refuse_value(c, c.parameters()[position],
                            "must hold at [" + std::to_string(i) + "].bitmap a live mtmd_bitmap");
    }
    return true;
}

// C drops the chunks that are there: nobody may use them, and they are dead to the caller.
bool check_refill(call &c, unsigned position) {
    const void *chunks = c.addresses[position];
    const parameter_row &row = c.parameters()[position];
    const handle *known = handles.find(chunks);
    if (known && known->readers) return refuse_value(c, row, "has chunks that a mtmd_batch reads, which must be freed");
    for (const void *one : with_members(chunks)) {
        const handle *member = handles.find(one);
        if (one != chunks && member && member->depth) return refuse_busy(c, row, *member);
    }
    handles.for_members(chunks, [&](const handle &member) { handles.free(member.address, c.function); });
    return true;
}

// The batch holds on to the chunk until it is freed; what it is entered with is its context.
bool check_batched(call &c, unsigned position) {
    handle *batch = handles.find(c.addresses[0]);
    if (!batch) return true;
    const void *context = batch->partner;
    read_on(batch->address, c.addresses[position]);
    batch->partner = context;
    return true;
}

// C copies as many floats for a token as the model of the context wants, out of what the other one's wanted.
bool check_same_width(call &c, unsigned position) {
    const void *known = read_of_kind(c.addresses[position], kind_of_llama_model);
    const llama_model *other = llama_get_model(static_cast<const llama_context *>(c.addresses[c.function.computes]));
    const int wants = llama_model_n_embd_inp(other);
    const int has = known ? llama_model_n_embd_inp(static_cast<const llama_model *>(known)) : wants;
    if (has == wants) return true;
    return refuse_value(
        c, c.parameters()[position],
        "was made for a model of width " + std::to_string(has) + ", and that of lctx has " + std::to_string(wants));
}

bool check_gen_input(call &c, unsigned position) {
    const auto &given = *static_cast<const mtmd_gen_inp *>(c.memory[position]);
    if (given.embd || given.type != MTMD_GEN_PROCESS_TYPE_GEN_CODE) return true;
    return refuse_value(c, c.parameters()[position], "has no embd, which MTMD_GEN_PROCESS_TYPE_GEN_CODE reads");
}

// One float for each of the model's embedding.
bool check_hidden_state(call &c, unsigned position) {
    const void *ctx = read_of_kind(c.addresses[0], kind_of_llama_context);
    const size_t has = c.sizes[position];
    if (!ctx || has == unknown_size) return true;
    const int width = llama_model_n_embd(llama_get_model(static_cast<const llama_context *>(ctx)));
    if (has != null_size && has / sizeof(float) >= static_cast<size_t>(width)) return true;
    return refuse_value(c, c.parameters()[position], "must hold the " + std::to_string(width) + " floats of a state");
}

// What comes out of a file: a bitmap, and where it is a video that too, which the bitmap reads.
void remember_bitmap(call &c, const void *result) {
    const auto &made = *static_cast<const mtmd_helper_bitmap_wrapper *>(result);
    if (made.bitmap) handles.put(made.bitmap, kind_of_mtmd_bitmap, nullptr);
    if (!made.video_ctx) return;
    handles.put(made.video_ctx, kind_of_mtmd_helper_video, nullptr);
    read_on(made.video_ctx, c.addresses[0]);
    read_on(made.bitmap, made.video_ctx);
}

}  // namespace llamacffi
