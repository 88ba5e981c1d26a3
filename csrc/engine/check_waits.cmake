# Look whether upstream's ggml-cpu.c still has what engine/waits.c takes the place of, and nothing else that spins.
file(READ ${ggml_cpu_c} text)
set(fits ON)
foreach(definition "void ggml_barrier\\(struct [^)]*\\) {" " ggml_graph_compute_poll_for_work\\(struct [^)]*\\) {")
  string(REGEX MATCHALL "${definition}" found "${text}")
  list(LENGTH found count)
  if(NOT count EQUAL 1)
    set(fits OFF)
  endif()
endforeach()
string(REGEX MATCHALL "ggml_thread_cpu_relax\\(\\)" spinning "${text}")
list(LENGTH spinning count)
if(NOT fits OR NOT count EQUAL 2)
  message(FATAL_ERROR "llamacffi: ${ggml_cpu_c} does not wait as csrc/engine/waits.c expects (ggml_barrier and \
ggml_graph_compute_poll_for_work, each defined once and spinning in one place): adapt waits.c and check_waits.cmake to \
this llama.cpp, or build with CMAKE_ARGS=-DGGML_OPENMP=ON")
endif()
