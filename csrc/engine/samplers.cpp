// See samplers.h.
#include "engine/samplers.h"

#include <memory>
#include <stdexcept>

#include "checks/handle_table.h"

namespace llamacffi {

namespace {

constexpr char nameless[] = "(without a name)";

// What C has in the place of an interface that the caller built: the functions of which C uses the result without
// asking, and `free`, which ends this as well, are ours.
struct judged_interface {
    llama_sampler_i own;
    llama_sampler_i *given;
};

judged_interface *judged(const llama_sampler *sampler) { return reinterpret_cast<judged_interface *>(sampler->iface); }

const char *name_of(const llama_sampler *sampler) {
    const llama_sampler_i &given = *judged(sampler)->given;
    const char *name = given.name ? given.name(sampler) : nullptr;
    return name ? name : nameless;
}

void free_judged(llama_sampler *sampler) {
    const std::unique_ptr<judged_interface> own(judged(sampler));
    if (own->given->free) own->given->free(sampler);
}

const char *fault_in_table(const llama_sampler *copy) {
    const border_lock lock;
    const handle *known = handles.find(copy);
    if (!known || known->kind != kind_of_llama_sampler || known->life != life::LIVE)
        return "gave what is no live sampler";
    return known->owner ? "gave a sampler that belongs to a chain" : nullptr;
}

// Why C cannot take what a `clone` gave, or nullptr.
const char *fault_of(const llama_sampler *copy, const llama_sampler *original) {
    if (!copy) return "gave no sampler";
    if (copy == original) return "gave the sampler itself";
    const PyGILState_STATE state = PyGILState_Ensure();
    const char *fault = fault_in_table(copy);
    PyGILState_Release(state);
    return fault;
}

llama_sampler *clone_of(const llama_sampler *sampler) {
    llama_sampler_i *given = judged(sampler)->given;
    if (!given->clone && !sampler->ctx) return sampler_init(nullptr, given, nullptr);
    if (!given->clone) GGML_ABORT("the sampler does not support cloning");
    llama_sampler *copy = given->clone(sampler);
    if (has_failed(current)) throw std::runtime_error("clone() raised");
    if (const char *fault = fault_of(copy, sampler))
        throw std::runtime_error(std::string("clone() of a sampler of the caller's own ") + fault);
    return copy;
}

}  // namespace

llama_sampler *sampler_init(call *, llama_sampler_i *iface, llama_sampler_context_t ctx) {
    if (!iface->apply) throw std::invalid_argument("iface->apply must be set");
    auto own = std::make_unique<judged_interface>(judged_interface{*iface, iface});
    own->own.name = name_of;
    own->own.clone = clone_of;
    own->own.free = free_judged;
    return llama_sampler_init(&own.release()->own, ctx);
}

llama_sampler *init_grammar(call *, const llama_vocab *vocab, const char *grammar, const char *root) {
    return llama_sampler_init_grammar(vocab, grammar, root);
}

llama_sampler *init_grammar_lazy(call *, const llama_vocab *vocab, const char *grammar, const char *root,
                                 const char **words, size_t n_words, const llama_token *tokens, size_t n_tokens) {
    return llama_sampler_init_grammar_lazy(vocab, grammar, root, words, n_words, tokens, n_tokens);
}

llama_sampler *init_grammar_lazy_patterns(call *, const llama_vocab *vocab, const char *grammar, const char *root,
                                          const char **patterns, size_t n_patterns, const llama_token *tokens,
                                          size_t n_tokens) {
    return llama_sampler_init_grammar_lazy_patterns(vocab, grammar, root, patterns, n_patterns, tokens, n_tokens);
}

const char *sampler_name(call *, const llama_sampler *sampler) {
    const char *name = sampler->iface && sampler->iface->name ? llama_sampler_name(sampler) : nullptr;
    return name ? name : nameless;
}

void sampler_apply(call *, llama_sampler *sampler, llama_token_data_array *candidates) {
    if (candidates->size && !candidates->data) throw std::invalid_argument("cur_p->data is NULL");
    if (candidates->selected >= static_cast<int64_t>(candidates->size) && candidates->selected > 0)
        throw std::invalid_argument("cur_p->selected is not below cur_p->size");
    llama_sampler_apply(sampler, candidates);
}

}  // namespace llamacffi
