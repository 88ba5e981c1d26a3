// See chains.h. `check_chain` is named in bindgen/policy.toml, and declared in the generated tables.
#include "checks/chains.h"

#include "checks/handle_table.h"
#include "core/errors.h"

namespace llamacffi {

namespace {

const llama_sampler_i *interface_of_chains() {
    llama_sampler *chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    const llama_sampler_i *interface = chain->iface;
    llama_sampler_free(chain);
    return interface;
}

bool is_chain(const llama_sampler *sampler) {
    static const llama_sampler_i *const chain_interface = interface_of_chains();
    return sampler->iface == chain_interface;
}

}  // namespace

void adopt_members(const void *sampler) {
    auto *chain = static_cast<llama_sampler *>(const_cast<void *>(sampler));
    if (!is_chain(chain)) return;
    for (int i = 0; i < llama_sampler_chain_n(chain); ++i) {
        const llama_sampler *member = llama_sampler_chain_get(chain, i);
        handle *known = handles.find(member);
        if (known && known->kind == kind_of_llama_sampler && known->life != life::FREED)
            handles.set_owner(*known, chain);
        else
            adopt_members(member);
    }
}

// The functions of a chain take any sampler, and read a chain's members out of it.
bool check_chain(call &c, unsigned position) {
    const auto *sampler = static_cast<const llama_sampler *>(c.addresses[position]);
    if (!sampler || is_chain(sampler)) return true;  // NULL passes where the policy takes it
    // Its name is not asked for: that can be a function of the caller's.
    return refuse_value(c, c.parameters()[position], "must be a sampler chain, which this sampler is not");
}

}  // namespace llamacffi
