"""Graphs of ggml's own functions, without a model: rows that are looked up in a table, beside a product of matrices.

A row beyond the table is asserted while the graph is computed. Row `i` falls to thread `i // ceil(rows / threads)`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

from llamacffi import llama_cpp as llama

TABLE = 16  # rows
BEYOND = 99


class Graph:
    """Rows of a table that is so wide; no_alloc leaves the memory to a backend."""

    def __init__(self, rows: Iterable[int], width: int = 8) -> None:
        rows = tuple(rows)
        size = 4 * width * (TABLE + len(rows)) + 2**20
        self.ggml = llama.ggml_init(llama.ggml_init_params(mem_size=size, mem_buffer=None, no_alloc=False))
        table = llama.ggml_new_tensor_2d(self.ggml, llama.GGML_TYPE_F32, width, TABLE)
        wanted = llama.ggml_new_tensor_1d(self.ggml, llama.GGML_TYPE_I32, len(rows))
        ctypes.memmove(llama.ggml_get_data(wanted), (ctypes.c_int32 * len(rows))(*rows), 4 * len(rows))
        small = llama.ggml_new_tensor_2d(self.ggml, llama.GGML_TYPE_F32, 4, 4)
        self.graph = llama.ggml_new_graph(self.ggml)
        llama.ggml_build_forward_expand(self.graph, llama.ggml_get_rows(self.ggml, table, wanted))
        # ggml computes a graph of rows alone with one thread.
        llama.ggml_build_forward_expand(self.graph, llama.ggml_mul_mat(self.ggml, small, small))

    def compute(self, n_threads: int) -> int:
        """Compute with threads that are made and ended for this graph."""
        return int(llama.ggml_graph_compute_with_ctx(self.ggml, self.graph, n_threads))

    def compute_with(self, pool: Any, n_threads: int) -> int:
        """Compute with the threads of a pool."""
        plan = llama.ggml_graph_plan(self.graph, n_threads, pool)
        work = (ctypes.c_uint8 * max(plan.work_size, 1))()
        plan.work_data = ctypes.cast(work, type(plan.work_data))
        return int(llama.ggml_graph_compute(self.graph, ctypes.byref(plan)))

    def compute_on_backend(self, n_threads: int) -> int:
        """Compute with a CPU backend of ggml's."""
        backend = llama.ggml_backend_cpu_init()
        llama.ggml_backend_cpu_set_n_threads(backend, n_threads)
        try:
            return int(llama.ggml_backend_graph_compute(backend, self.graph))
        finally:
            llama.ggml_backend_free(backend)

    def free(self) -> None:
        llama.ggml_free(self.ggml)
