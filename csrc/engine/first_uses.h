// The first use of a static variable inside of a function. Who makes it holds a guard of the C++ library's meanwhile,
// and all others wait: those of a child of fork for ever, if the thread that makes it stayed in the parent. The linker
// leads the guards through here (CMakeLists.txt, on Linux), so that a fork waits until nobody holds one.
#pragma once

namespace llamacffi {

void lock_first_uses();

void unlock_first_uses();

// In the child, which has none of the threads for which the fork did not wait any longer.
void forget_makers();

}  // namespace llamacffi
