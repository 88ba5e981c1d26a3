// What lives as long as somebody reads it: a model as long as its contexts and samplers, a context as long as its
// batches.
//
// The policy says what a new object reads (`reads`, `copies`). Whoever frees such an object first finds it dead to the
// caller at once; its memory, and what it keeps, goes with the last reader. The graph is read and written with the
// border's lock held; C's functions run without it.
#pragma once

#include "core/call.h"

namespace llamacffi {

// `reader` reads `address`, or the nearest thing above it that can outlive its own freeing (the model of a vocabulary).
void read_on(const void *reader, const void *address);

// `copy` reads and keeps what `original` does, and what belongs to it.
void copy_reads(const void *copy, const void *original);

// From here on `reader` reads `address`, or nothing, in the place of what it read of that kind; what goes with that,
// `more` has afterwards.
void read_instead(const void *reader, uint8_t kind, const void *address, call_extras &more);

// Whether `reader` reads `address`.
bool reads(const void *reader, const void *address);

// The object of that kind that `reader` reads, or nullptr.
const void *read_of_kind(const void *reader, uint8_t kind);

// `address` and all that dies with it.
std::vector<const void *> with_members(const void *address);

// The call frees `address`: mark it and what dies with it, and find out what ends now. `more` has it afterwards.
void begin_end(const void *address, const function_row &by, call_extras &more);

}  // namespace llamacffi
