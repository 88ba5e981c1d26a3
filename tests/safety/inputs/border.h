// What the targets share: the border around a call, inputs as files, and the model that adapters and states belong to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "core/call.h"
#include "core/errors.h"
#include "engine/deep_stack.h"

// What libFuzzer calls with each input.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace inputs {

// Whether a call came to its end. An assertion and what C++ throws end it, as they do at the border; the rest ends the
// process, and is a finding.
template <typename Act>
bool survived(Act act) {
    llamacffi::call record(llamacffi::function_rows[0], nullptr, 0);
    llamacffi::current = &record;
    bool done = true;
    try {
        act();
    } catch (const llamacffi::assertion_failed &) {
        done = false;
    } catch (const std::exception &) {
        done = false;
    } catch (const llamacffi::refused_text &) {
        done = false;
    }
    llamacffi::current = nullptr;
    return done;
}

// The path of a file that holds the input until the next one is written.
const char *written(const uint8_t *data, size_t size);

// The texts that zero bytes divide the input into; where there are fewer than `least`, empty ones.
std::vector<std::string> texts(const uint8_t *data, size_t size, size_t least);

// Call `ask(buffer, size)` as one calls a function that tells how long its text is: with room for it, and without.
template <typename Ask>
void read_text(Ask ask) {
    char buffer[64];
    ask(nullptr, 0);
    ask(buffer, sizeof buffer);
}

// The models of the folder that LLAMACFFI_MODELS names, by their names; adapters are for the first.
const std::vector<llama_model *> &shared_models();

// A small context that computes on this thread alone; nullptr where C makes none.
llama_context *context_of(llama_model *model);

// Decode a few tokens, and look at what came of it.
bool decode_tokens(llama_context *ctx);

// A context that goes from one input to the next, empty.
class lasting_context {
  public:
    explicit lasting_context(llama_model *model) : model_(model) {}

    // Act on it, and decode where that did something. What an exception leaves behind is not used again.
    template <typename Act>
    void use(Act act) {
        if (!ctx_) ctx_ = context_of(model_);
        const bool sound = survived([&] {
            if (act(ctx_)) decode_tokens(ctx_);
            llama_memory_clear(llama_get_memory(ctx_), true);
        });
        if (!sound) replace();
    }

  private:
    void replace();

    llama_model *model_;
    llama_context *ctx_ = nullptr;
};

// One of each shared model.
std::vector<lasting_context> &lasting_contexts();

}  // namespace inputs
