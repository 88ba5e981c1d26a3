"""What public code does with llama-cpp-python's low-level module, a small function for each pattern, as facts.

A program: `patterns.py MODEL` runs them with whichever `llama_cpp` it finds, and prints one line of JSON for each: what
it returned, or what it raised. It knows nothing of llamacffi. Each was found in code that is in use; over ctypes all of
them work.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import sys
import threading
import typing
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp
from llama_cpp import llama_cpp as L

Pattern = Callable[[], Any]
PATTERNS: dict[str, Pattern] = {}


def pattern(function: Pattern) -> Pattern:
    PATTERNS[function.__name__] = function
    return function


def decode(context: Any, *tokens: int) -> int:
    array = (L.llama_token * len(tokens))(*tokens)
    return int(L.llama_decode(context, L.llama_batch_get_one(array, len(tokens))))


def context_of(**fields: Any) -> Any:
    params = L.llama_context_default_params()
    for name, value in {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, **fields}.items():
        setattr(params, name, value)
    return L.llama_init_from_model(MODEL, params)


# ---------------------------------------------------------------- numbers


@pattern
def seeds_wrap_as_in_c() -> Any:
    """-1 is LLAMA_DEFAULT_SEED then, which chooses a seed."""
    samplers = [L.llama_sampler_init_dist(seed) for seed in (2**32 + 7, 7 - 2**32, 7)]
    chosen = L.llama_sampler_init_dist(-1)
    return [bool(chosen), [L.llama_sampler_get_seed(sampler) for sampler in samplers]]


@pattern
def positions_wrap_as_in_c() -> Any:
    context = context_of()
    decode(context, 1, 5, 6)
    memory = L.llama_get_memory(context)
    removed = L.llama_memory_seq_rm(memory, -1, -1, 0xFFFFFFFF)
    return [removed, L.llama_memory_seq_pos_max(memory, 0)]


@pattern
def anything_is_a_bool() -> Any:
    vocab = L.llama_model_get_vocab(MODEL)
    tokens = (L.llama_token * 16)()
    return [L.llama_tokenize(vocab, b"a", 1, tokens, 16, special, None) for special in (None, [], [0], True, "yes")]


@pattern
def arguments_of_an_older_signature_are_ignored() -> Any:
    context = context_of()
    decode(context, 1)
    return [L.llama_backend_init(False), bool(L.llama_get_logits(context, 0))]


# ---------------------------------------------------------------- memory


@pattern
def bytes_are_an_output_buffer() -> Any:
    vocab, buffer = L.llama_model_get_vocab(MODEL), bytes(bytearray(32))
    length = L.llama_token_to_piece(vocab, 5, buffer, 32, 0, True)
    room = ctypes.create_string_buffer(32)
    return [length == L.llama_token_to_piece(vocab, 5, room, 32, 0, True), buffer == room.raw]


@pattern
def an_adapter_goes_into_an_array_of_pointers() -> Any:
    adapter = L.llama_adapter_lora_init(MODEL, bytes(ADAPTER))
    array = (ctypes.POINTER(ctypes.c_void_p) * 1)(adapter)
    documented = (L.llama_adapter_lora_p_ctypes * 1)(adapter)
    scale = (ctypes.c_float * 1)(1.0)
    return [L.llama_set_adapters_lora(context_of(), one, 1, scale) for one in (array, documented)]


@pattern
def a_missing_adapter_is_false() -> Any:
    return bool(L.llama_adapter_lora_init(MODEL, b"/nowhere"))


# ---------------------------------------------------------------- structs


@pattern
def unknown_attributes_of_params_are_kept() -> Any:
    params, other = L.llama_context_default_params(), L.llama_model_default_params()
    params._keepalive = array = (ctypes.c_int * 3)()
    params.n_thread, other.my_name = 3, "mine"
    return [params._keepalive is array, params.n_thread, other.my_name, ctypes.sizeof(params) > 0]


@pattern
def devices_are_none_until_they_are_set() -> Any:
    params = L.llama_model_default_params()
    before = params.devices is None
    array = (ctypes.c_void_p * 1)(None)
    params.devices = ctypes.cast(array, ctypes.c_void_p)
    after = params.devices is None
    loaded = L.llama_model_load_from_file(bytes(PATH), params)
    params.devices = None
    return [before, after, bool(loaded), params.devices is None]


@pattern
def a_callback_in_a_struct_is_of_its_type() -> Any:
    params = L.llama_context_default_params()
    params.cb_eval = L.ggml_backend_sched_eval_callback(lambda tensor, ask, data: False)
    kinds = isinstance(params.cb_eval, L.ggml_backend_sched_eval_callback)
    params.abort_callback = L.ggml_abort_callback(lambda data: False)
    return [kinds, isinstance(params.abort_callback, L.ggml_abort_callback), bool(params.cb_eval)]


@pattern
def an_eval_callback_gets_addresses() -> Any:
    seen: list[Any] = []

    def see(tensor: Any, ask: bool, data: Any) -> bool:
        seen.append((type(tensor).__name__, hex(tensor)[:2], ask))
        return False

    callback = L.ggml_backend_sched_eval_callback(see)  # which ctypes frees with its last name
    decode(context_of(cb_eval=callback), 1)
    return sorted(set(seen))


@pattern
def a_handle_s_type_gives_back_its_number() -> Any:
    return [L.llama_vocab_p(7), L.llama_memory_t(8)]


# ---------------------------------------------------------------- functions


@pattern
def functions_have_types() -> Any:
    function = L.llama_n_ctx
    return [function.restype.__name__, len(function.argtypes), function.errcheck, L.llama_decode.argtypes[1].__name__]


@pattern
def types_of_functions_may_be_set() -> Any:
    function = L.llama_max_devices
    before = function()
    function.argtypes, function.restype = [], ctypes.c_size_t
    function.errcheck = lambda result, function, arguments: result
    return [before == function(), function.restype.__name__, function.argtypes, callable(function.errcheck)]


@pattern
def functions_have_free_attributes() -> Any:
    L.llama_print_system_info.mine = [1]
    return [L.llama_print_system_info.mine, hasattr(L.llama_print_system_info, "other")]


@pattern
def functions_have_an_address() -> Any:
    address = ctypes.cast(L.llama_max_devices, ctypes.c_void_p).value
    return ctypes.CFUNCTYPE(ctypes.c_size_t)(address)() == L.llama_max_devices()


@pattern
def functions_have_names() -> Any:
    function = L.llama_decode
    return [function.__name__, function.__qualname__, callable(function.__wrapped__), bool(function.__doc__)]


@pattern
def functions_have_a_signature() -> Any:
    """The names of the parameters; some are other ones than the header's there."""
    functions = (L.llama_decode, L.llama_backend_init, L.llama_model_get_vocab, L.llama_set_n_threads)
    signatures = [inspect.signature(function).parameters.values() for function in functions]
    return [one.name for parameters in signatures for one in parameters]


@pattern
def functions_have_hints() -> Any:
    hints = typing.get_type_hints(L.llama_n_ctx)
    return [sorted(hints), hints["return"].__name__]


# ---------------------------------------------------------------- the library


@pattern
def the_library_has_functions_by_name() -> Any:
    found = L._lib["llama_max_devices"]
    return [found(), L._lib.llama_max_devices(), isinstance(L._lib._name, str), hasattr(L._lib, "llama_nothing")]


@pattern
def the_library_says_where_it_is() -> Any:
    return [Path(L._lib._name).exists(), isinstance(L._base_path, Path), L._lib_base_name]


@pattern
def the_library_is_loaded_again() -> Any:
    return L.load_shared_library(L._lib_base_name, L._base_path).llama_max_devices()


@pattern
def a_function_is_bound_by_hand() -> Any:
    @L.ctypes_function("llama_supports_mmap", [], ctypes.c_bool)
    def supports() -> bool: ...

    @L.ctypes_function("llama_nothing", [], ctypes.c_bool, enabled=False)
    def nothing() -> bool:
        return True

    return [supports(), nothing()]


@pattern
def an_unknown_function_is_not_bound() -> Any:
    try:
        L.ctypes_function("llama_nothing", [], ctypes.c_bool)(lambda: True)
    except AttributeError as error:
        return type(error).__name__


@pattern
def the_module_has_the_same_names_before_and_after() -> Any:
    """`llama_sampler_data` is a type that nothing above has asked for."""
    names = {"llama_sampler_data", "llama_batch", "llama_decode", "LLAMA_DEFAULT_SEED", "ggml_abort_callback"}
    before = set(vars(L)), dir(L), bring()
    for name in dir(L):
        getattr(L, name)
    after = set(vars(L)), dir(L), bring()
    return [before == after, names <= set(before[1]), names <= before[2]]


def bring() -> set[str]:
    space: dict[str, Any] = {}
    exec("from llama_cpp.llama_cpp import *", space)
    return set(space)


@pattern
def the_package_has_the_low_level_names() -> Any:
    names = ("llama_decode", "llama_batch", "LLAMA_DEFAULT_SEED", "llama_token_data_array_p", "ggml_abort_callback")
    same = [getattr(llama_cpp, name) is getattr(L, name) for name in names]
    return [same, isinstance(llama_cpp.__file__, str), llama_cpp.__version__]


# ---------------------------------------------------------------- threads


def read_while_decoding(*reads: Callable[[Any], Any]) -> Any:
    """Decode on another thread, again and again, while this one reads as often."""
    context, results = context_of(), []
    go_on = threading.Event()

    def work() -> None:
        while not go_on.is_set():
            L.llama_memory_clear(L.llama_get_memory(context), True)
            results.append(decode(context, 1, 5, 6))

    thread = threading.Thread(target=work)
    decode(context, 1)
    thread.start()
    try:
        for _ in range(20):
            for read in reads:
                read(context)
    finally:
        go_on.set()
        thread.join()
    return [set(results) <= {0}, "all read"]


@pattern
def one_thread_reads_while_another_decodes() -> Any:
    return read_while_decoding(
        L.llama_perf_context,
        lambda context: L.llama_memory_seq_pos_max(L.llama_get_memory(context), 0),
        L.llama_state_get_size,
        L.llama_n_ctx,
        lambda context: L.llama_get_logits_ith(context, -1),
    )


@pattern
def the_abort_callback_is_set_while_another_decodes() -> Any:
    callback = L.ggml_abort_callback(lambda data: False)
    return read_while_decoding(
        lambda context: L.llama_set_abort_callback(context, callback, None),
        lambda context: L.llama_set_abort_callback(context, L.ggml_abort_callback(0), None),
    )


def outcome(function: Pattern) -> Any:
    try:
        return function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    PATH, ADAPTER = (Path(one) for one in sys.argv[1:3])
    quiet = L.llama_log_callback(lambda level, text, data: None)
    L.llama_log_set(quiet, None)
    L.llama_backend_init()
    MODEL = L.llama_model_load_from_file(bytes(PATH), L.llama_model_default_params())
    warnings.simplefilter("ignore")
    for name, function in PATTERNS.items():
        if name in sys.argv[3:] or not sys.argv[3:]:
            print(json.dumps({"pattern": name, "facts": outcome(function)}), flush=True)
