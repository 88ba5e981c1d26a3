// Sampler chains: what is one, and who stands in one that C has filled.
#pragma once

namespace llamacffi {

// C has put copies of its own into the copy of a chain; what the table knows of them (the `clone` of a sampler in
// Python has made it) belongs to the chain from here on.
void adopt_members(const void *sampler);

}  // namespace llamacffi
