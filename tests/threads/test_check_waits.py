"""The build stops where llama.cpp's ggml-cpu.c does not wait and compute as engine/waits.c expects.

Each case is the pinned file with one passage changed, as another version of llama.cpp might have it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.checkout import ROOT, source
from support.processes import Ended, run, tool

CHECK = ROOT / "csrc" / "engine" / "check_waits.cmake"
PINNED = source() / "ggml" / "src" / "ggml-cpu" / "ggml-cpu.c"

BARRIER = "void ggml_barrier(struct ggml_threadpool * tp) {"
POLL = "static inline bool ggml_graph_compute_poll_for_work(struct ggml_compute_state * state) {"
COMPUTE = "enum ggml_status ggml_graph_compute(struct ggml_cgraph * cgraph, struct ggml_cplan * cplan) {"
WORKER = "static thread_ret_t ggml_graph_compute_secondary_thread(void* data) {"
RUN = "            ggml_graph_compute_thread(state);"
PLAN = "threadpool->cplan            = cplan;"
SPINNING = "ggml_thread_cpu_relax();"

OTHERS = {
    "the barrier is gone": (BARRIER, "static void nothing(void) {"),
    "the barrier has another name": (BARRIER, BARRIER.replace("ggml_barrier", "ggml_barrier_wait")),
    "the barrier's parameter is of another type": (BARRIER, BARRIER.replace("struct ggml_threadpool *", "ggml_tp_t")),
    "the barrier is defined twice": (BARRIER, f"{BARRIER} }}\n{BARRIER}"),
    "the poll is gone": (POLL, "static void nothing(void) {"),
    "the poll has another name": (POLL, POLL.replace("poll_for_work", "wait_for_work")),
    "a third loop spins": (POLL, f"static void third(void) {{ for (;;) {SPINNING} }}\n{POLL}"),
    "a wait does not spin": (SPINNING, "sched_yield();"),
    "graphs are computed under another name": (COMPUTE, COMPUTE.replace("ggml_graph_compute", "ggml_graph_run")),
    "graphs are computed by a plan of another type": (COMPUTE, COMPUTE.replace("struct ggml_cgraph *", "ggml_graph_t")),
    "the worker's function has another name": (WORKER, WORKER.replace("secondary", "worker")),
    "the worker's function is called somewhere": (RUN, "            ggml_graph_compute_secondary_thread(state);"),
    "a thread computes somewhere else": (WORKER, f"static void other(void) {{ {RUN} }}\n{WORKER}"),
    "the plan is copied": (PLAN, "threadpool->plan = *cplan;"),
}


def check(file: Path) -> Ended:
    return run(tool("cmake"), f"-Dggml_cpu_c={file}", "-P", CHECK)


def test_the_pinned_file_passes() -> None:
    ended = check(PINNED)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("name", OTHERS)
def test_another_file_stops_the_build_with_a_sentence(name: str, tmp_path: Path) -> None:
    passage, changed = OTHERS[name]
    text = PINNED.read_text()
    assert passage in text
    file = tmp_path / "ggml-cpu.c"
    file.write_text(text.replace(passage, changed, 1))
    ended = check(file)
    said = re.sub(r"\s+", " ", ended.stderr)
    assert ended.returncode == 1
    assert f"llamacffi: {file} does not wait and compute as csrc/engine/waits.c expects" in said
    assert "adapt waits.c and check_waits.cmake to this llama.cpp, or build with CMAKE_ARGS=-DGGML_OPENMP=ON" in said
