// Who reads the memory of a batch that `llama_batch_init` made: it cannot be freed meanwhile.
#pragma once

#include "core/call.h"

namespace llamacffi {

// Between these the call reads the batch that was found among its arguments, if any.
void enter_batch(call &c);
void leave_batch(call &c);  // of a call with extras

// What a batch is filled with: `count` tokens, and as many of each, but for `per_token` sequences of a token.
struct batch_items {
    size_t count, per_token;
    const llama_token *tokens;
    const llama_pos *pos;
    const llama_seq_id *seq_ids;
    const int8_t *logits;
};

// Fill the batch of `llama_batch_init` that is the first argument, or refuse: false.
bool fill_made_batch(const call &c, const batch_items &items);

// In a child of fork() the threads that were inside are gone.
void forget_readers_of_batches();

}  // namespace llamacffi
