# An extension with several CPU levels is for other machines than this one, so it loads with any glibc since 2.17
# (manylinux_2_17), and needs no C++ library there. Included by CMakeLists.txt.
include(CheckLinkerFlag)
include(CheckSymbolExists)

check_symbol_exists(__GLIBC__ features.h LLAMACFFI_HAS_GLIBC)  # musl has no versions of symbols
if(LLAMACFFI_HAS_GLIBC)
  check_linker_flag(CXX -static-libstdc++ LLAMACFFI_HAS_STATIC_LIBSTDCXX)
  if(NOT LLAMACFFI_HAS_STATIC_LIBSTDCXX)
    message(FATAL_ERROR "llamacffi: an extension with several CPU levels holds the C++ library, but the compiler has no \
static one: install it (libstdc++-static, where it is a package of its own), or name one level")
  endif()
  target_sources(_llama PRIVATE engine/old_glibc.c)
  # Before glibc 2.34, threads and dlopen are in libraries of their own; since then these are empty.
  target_link_options(_llama PRIVATE -static-libstdc++)
  target_link_libraries(_llama PRIVATE -Wl,--push-state,--no-as-needed -l:libpthread.so.0 -l:libdl.so.2 -Wl,--pop-state)
endif()
