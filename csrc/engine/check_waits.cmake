# Look whether upstream's ggml-cpu.c still has what engine/waits.c takes the place of, each once, and nothing else that spins;
# whether a graph is computed where waits.c expects it, and each thread finds the plan that it was given.
file(READ ${ggml_cpu_c} text)
set(fits ON)
foreach(
  expected
  "1:void ggml_barrier\\(struct [^)]*\\) {"
  "1: ggml_graph_compute_poll_for_work\\(struct [^)]*\\) {"
  "1:enum ggml_status ggml_graph_compute\\(struct [^)]*\\) {"
  "1:static thread_ret_t ggml_graph_compute_secondary_thread\\([^)]*\\) {"
  "2:ggml_graph_compute_secondary_thread\\("
  "5:ggml_graph_compute_thread\\("
  "2:threadpool->cplan += cplan"
  "2:ggml_thread_cpu_relax\\(\\)")
  string(REGEX REPLACE ":.*" "" times "${expected}")
  string(REGEX REPLACE "^[0-9]+:" "" pattern "${expected}")
  string(REGEX MATCHALL "${pattern}" found "${text}")
  list(LENGTH found count)
  if(NOT count EQUAL times)
    set(fits OFF)
  endif()
endforeach()
if(NOT fits)
  message(FATAL_ERROR "llamacffi: ${ggml_cpu_c} does not wait and compute as csrc/engine/waits.c expects (ggml_barrier and \
ggml_graph_compute_poll_for_work, each defined once and spinning in one place; ggml_graph_compute and \
ggml_graph_compute_secondary_thread, whose threads find their plan in the pool): adapt waits.c and check_waits.cmake to \
this llama.cpp, or build with CMAKE_ARGS=-DGGML_OPENMP=ON")
endif()
