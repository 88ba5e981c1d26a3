// Chat templates: the template, and behind zero bytes the roles and the contents of messages.
#include "border.h"

namespace {

void apply(const std::vector<std::string> &given) {
    std::vector<llama_chat_message> chat;
    for (size_t i = 1; i + 1 < given.size(); i += 2) chat.push_back({given[i].c_str(), given[i + 1].c_str()});
    for (const bool add_assistant : {true, false}) {
        const int32_t needed =
            llama_chat_apply_template(given[0].c_str(), chat.data(), chat.size(), add_assistant, nullptr, 0);
        std::vector<char> buffer(needed > 0 ? needed : 1);
        llama_chat_apply_template(given[0].c_str(), chat.data(), chat.size(), add_assistant, buffer.data(),
                                  static_cast<int32_t>(buffer.size()));
    }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    inputs::survived([&] { apply(inputs::texts(data, size, 3)); });
    return 0;
}
