"""The interpreter ends well whatever is alive: objects, daemon threads in C, __del__ methods, callbacks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SPIN = """
def spin(context):
    memory = L.llama_get_memory(context)
    while True:
        L.llama_memory_clear(memory, True)
        decode(context)

def start(function, *given):
    thread = threading.Thread(target=function, args=given, daemon=True)
    thread.start()
    return thread

model = load()
ctx = context_of(model)
"""

ENDS = {
    "live objects": "decode(ctx)\nchain = chain_of(L.llama_sampler_init_greedy())",
    "every kind of object alive": """
batch, extended = batch_of_one(), L.llama_batch_ext_init(ctx)
adapter = L.llama_adapter_lora_init(model, adapter_path())
L.llama_set_adapters_lora(ctx, (ctypes.c_void_p * 1)(adapter), 1, floats(1))
pool = pool_of(2)
L.llama_attach_threadpool(ctx, pool, None)
gguf = L.gguf_init_empty()
""",
    "a freed model whose context lives": "L.llama_model_free(model)",
    "a callback for logs": "L.llama_log_set(L.llama_log_callback(lambda *given: None), None)",
    "a callback in a context": "L.llama_set_abort_callback(ctx, L.ggml_abort_callback(lambda data: False), None)",
    "a sampler of the user's": "chain = chain_of(user_sampler(apply=lambda sampler, array: None, free=print))",
    "__del__ methods that free": """
class Owner:
    def __init__(self):
        self.model = load()
        self.context = context_of(self.model)
    def __del__(self):
        L.llama_model_free(self.model)
        L.llama_free(self.context)
one, two = Owner(), Owner()
one.other, two.other = two, one
sys.modules["kept"] = one
""",
    "__del__ methods that decode": """
class User:
    def __del__(self):
        decode(ctx)
import builtins
builtins.kept, kept = User(), User()
""",
    "atexit": "import atexit\natexit.register(lambda: (decode(ctx), L.llama_free(ctx), L.llama_model_free(model)))",
    "a daemon thread that decodes": "start(spin, ctx)\ntime.sleep(0.1)",
    "daemon threads that decode in contexts of one model": """
for _ in range(3):
    start(spin, context_of(model))
time.sleep(0.1)
""",
    "a daemon thread whose model was freed": "start(spin, ctx)\ntime.sleep(0.1)\nL.llama_model_free(model)",
    "a daemon thread with an abort callback": """
L.llama_set_abort_callback(ctx, L.ggml_abort_callback(lambda data: False), None)
start(spin, ctx)
time.sleep(0.1)
""",
    "a daemon thread with a sampler of the user's": """
decode(ctx)
chain = chain_of(user_sampler(apply=lambda sampler, array: time.sleep(0.001)))
def sample():
    while True:
        try:
            L.llama_sampler_sample(chain, ctx, -1)
        except llamacffi.LlamaError:
            pass
start(sample)
time.sleep(0.1)
""",
    "a daemon thread that loads with a progress callback": """
def load_for_ever():
    while True:
        L.llama_model_free(load(progress_callback=L.llama_progress_callback(lambda progress, data: True)))
start(load_for_ever)
time.sleep(0.1)
""",
    "a daemon thread and a __del__ that frees its context": """
class Owner:
    def __del__(self):
        try:
            L.llama_free(ctx)
        except llamacffi.LlamaError:
            pass
owner = Owner()
start(spin, ctx)
time.sleep(0.1)
""",
    "a daemon thread that logs to Python": """
llamacffi.log_to("quiet")
def load_for_ever():
    while True:
        L.llama_model_free(load())
[start(load_for_ever) for _ in range(3)]
time.sleep(0.1)
""",
}


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_the_interpreter_ends_with_status_0(code: str, output_of: Callable[..., str]) -> None:
    for _ in range(3):  # what races may come out well once
        output_of(SPIN + code)


def test_an_exit_status_is_kept(child: Callable[..., object]) -> None:
    ended = child(SPIN + "start(spin, ctx)\ntime.sleep(0.1)\nraise SystemExit(3)")
    assert ended.returncode == 3  # type: ignore[attr-defined]
