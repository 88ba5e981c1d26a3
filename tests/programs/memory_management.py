"""An owner for a model and its context that frees both whatever happens, and a process that does not grow with it."""

import gc
import pathlib
import resource
import sys

import llama_cpp.llama_cpp as llama_cpp


def resident() -> float:
    """Return the memory that this process has now, in megabytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


class Session:
    def __init__(self, path: str) -> None:
        params = llama_cpp.llama_model_default_params()
        params.use_mmap = False  # so that the model's memory is the process's own
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        self.context = llama_cpp.llama_new_context_with_model(self.model, llama_cpp.llama_context_default_params())

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        context, self.context = self.context, None
        model, self.model = self.model, None
        if context:
            llama_cpp.llama_free(context)
        if model:
            llama_cpp.llama_model_free(model)


def one_session(path: str) -> tuple[float, float]:
    """Return the memory while a session is open, and after it."""
    with Session(path):
        during = resident()
    gc.collect()
    return during, resident()


llama_cpp.llama_backend_init()
one_session(sys.argv[1])  # what is allocated once
sizes = [one_session(sys.argv[1]) for _ in range(3)]
session = Session(sys.argv[1])
del session  # by its destructor this time
size = pathlib.Path(sys.argv[1]).stat().st_size / 1e6
print("the model is in memory while it is open:", all(during - after > size / 2 for during, after in sizes))
print("and its memory comes back:", resident() - sizes[0][1] < size / 2)
llama_cpp.llama_backend_free()
