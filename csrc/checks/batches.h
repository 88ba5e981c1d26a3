// Who reads the memory of a batch that `llama_batch_init` made: it cannot be freed meanwhile.
#pragma once

#include "core/call.h"

namespace llamacffi {

// Between these the call reads the batch that was found among its arguments, if any.
void enter_batch(call &c);
void leave_batch(call &c);  // of a call with extras

// In a child of fork() the threads that were inside are gone.
void forget_readers_of_batches();

}  // namespace llamacffi
