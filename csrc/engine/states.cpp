// See states.h.
#include "engine/states.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <new>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include "engine/logs.h"

namespace llamacffi {

std::mutex states_mutex;

namespace {

// What a context last wrote for a sequence whose state it keeps on the device.
struct stored_state {
    std::vector<uint8_t> bytes;
    llama_state_seq_flags flags;  // other parts are kept with others
};
using stored_states = std::map<llama_seq_id, stored_state>;
std::unordered_map<const llama_context *, stored_states> states_of;

// A state begins with a text and its length; upstream makes room for that before it looks whether it is there.
bool starts_with_text(const uint8_t *src, size_t size) {
    uint32_t length = 0;
    if (size < sizeof length) return false;
    std::memcpy(&length, src, sizeof length);
    if (length <= size - sizeof length) return true;
    log_sink(GGML_LOG_LEVEL_ERROR, "llama_state_set_data: the state is damaged: it is shorter than its first text\n",
             nullptr);
    return false;
}

// A session file: magic, version, count and tokens, and then a state. A file that is no such thing C refuses itself.
bool is_whole_session(const char *path) {
    std::ifstream file(path, std::ios::binary);
    uint32_t header[3] = {}, length = 0;
    file.read(reinterpret_cast<char *>(header), sizeof header);
    file.seekg(static_cast<std::streamoff>(header[2]) * static_cast<std::streamoff>(sizeof(llama_token)),
               std::ios::cur);
    file.read(reinterpret_cast<char *>(&length), sizeof length);
    if (!file) return true;
    const std::streamoff here = file.tellg();
    file.seekg(0, std::ios::end);
    if (static_cast<std::streamoff>(length) <= file.tellg() - here) return true;
    log_sink(GGML_LOG_LEVEL_ERROR, "llama_state_load_file: the state in the file is shorter than its first text\n",
             nullptr);
    return false;
}

bool is_on_device(llama_state_seq_flags flags) { return flags & LLAMA_STATE_SEQ_FLAGS_ON_DEVICE; }

// Nothing is written where `size` is 0: what the context keeps of the sequence belongs to no state.
void remember_stored(const llama_context *ctx, llama_seq_id sequence, const uint8_t *state, size_t size,
                     llama_state_seq_flags flags) {
    const std::lock_guard<std::mutex> lock(states_mutex);
    stored_states &states = states_of[ctx];
    states.erase(sequence);
    if (size) states.emplace(sequence, stored_state{std::vector<uint8_t>(state, state + size), flags});
}

// A state begins with a magic number and the sequence that it was written of.
bool is_stored(const llama_context *ctx, const uint8_t *state, size_t size, llama_state_seq_flags flags) {
    llama_seq_id header[2];
    if (!state || size < sizeof header) return false;
    std::memcpy(header, state, sizeof header);
    const std::lock_guard<std::mutex> lock(states_mutex);
    const auto states = states_of.find(ctx);
    if (states == states_of.end()) return false;
    const auto known = states->second.find(header[1]);
    if (known == states->second.end() || known->second.flags != flags) return false;
    const std::vector<uint8_t> &bytes = known->second.bytes;
    return std::equal(bytes.begin(), bytes.end(), state, state + size);
}

// The context allocates its part in a destructor: see here whether there is room for it.
void require_room_on_device(llama_context *ctx, llama_seq_id sequence, llama_state_seq_flags flags) {
    const size_t all = llama_state_seq_get_size_ext(ctx, sequence, flags & ~LLAMA_STATE_SEQ_FLAGS_ON_DEVICE);
    constexpr size_t for_its_tables = 1 << 20;
    ::operator delete(::operator new(all + for_its_tables));
}

}  // namespace

// The old name has no length; the buffer that came does.
size_t set_state_data(call *c, llama_context *ctx, const uint8_t *src) {
    if (!src) throw std::invalid_argument("src must not be NULL");
    return state_set_data(c, ctx, src, size_behind(c, 1));
}

size_t state_set_data(call *, llama_context *ctx, const uint8_t *src, size_t size) {
    return !src || starts_with_text(src, size) ? llama_state_set_data(ctx, src, size) : 0;
}

bool state_load_file(call *, llama_context *ctx, const char *path, llama_token *tokens, size_t capacity,
                     size_t *count) {
    return is_whole_session(path) && llama_state_load_file(ctx, path, tokens, capacity, count);
}

size_t state_seq_get_data_ext(call *, llama_context *ctx, uint8_t *dst, size_t size, llama_seq_id sequence,
                              llama_state_seq_flags flags) {
    if (!is_on_device(flags)) return llama_state_seq_get_data_ext(ctx, dst, size, sequence, flags);
    require_room_on_device(ctx, sequence, flags);
    remember_stored(ctx, sequence, nullptr, 0, flags);
    const size_t written = llama_state_seq_get_data_ext(ctx, dst, size, sequence, flags);
    remember_stored(ctx, sequence, dst, written, flags);
    return written;
}

size_t state_seq_set_data_ext(call *, llama_context *ctx, const uint8_t *src, size_t size, llama_seq_id sequence,
                              llama_state_seq_flags flags) {
    if (!is_on_device(flags)) return llama_state_seq_set_data_ext(ctx, src, size, sequence, flags);
    if (!is_stored(ctx, src, size, flags))
        throw std::invalid_argument(
            "src is not what llama_state_seq_get_data_ext() last wrote for its sequence in this context with these "
            "flags, and the context keeps no other state of it on the device");
    if (sequence < 0 || static_cast<uint32_t>(sequence) >= llama_n_seq_max(ctx))
        throw std::invalid_argument("dest_seq_id must be from 0 to llama_n_seq_max(ctx) - 1");
    return llama_state_seq_set_data_ext(ctx, src, size, sequence, flags);
}

void forget_stored_states(const llama_context *ctx) {
    const std::lock_guard<std::mutex> lock(states_mutex);
    states_of.erase(ctx);
}

}  // namespace llamacffi
