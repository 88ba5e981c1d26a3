"""What comes back from C: numbers, bytes, ints for handles, ctypes pointers and structs; and memory that is shared."""

from __future__ import annotations

import array
import ctypes
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llamacffi._llama import functions

from llamacffi import ctypes_types, ffi, lib, llama_cpp
from support import tiny_model
from support.cells import alone, returns
from support.objects import TOKENS, decode, load, logits_of

WORD = "▁the"
TEXT = b" the cat"


@pytest.fixture
def sampler() -> Iterator[Any]:
    made = llama_cpp.llama_sampler_init_greedy()
    yield made
    llama_cpp.llama_sampler_free(made)


@pytest.fixture
def decoded(context: Any) -> Any:
    """A context that has logits for its last token."""
    assert decode(context) == 0
    return context


# ---------------------------------------------------------------- numbers and text


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ("llama_n_ctx_train", int),
        ("llama_model_size", int),
        ("llama_model_rope_freq_scale_train", float),
        ("llama_model_has_decoder", bool),
        ("llama_model_rope_type", int),
    ],
)
def test_numbers_are_plain_python_numbers(function: str, kind: type, tiny: Any) -> None:
    assert type(functions[function](tiny)) is kind


def test_numbers_have_the_value_that_the_file_says(tiny: Any, vocab: Any) -> None:
    shape = tiny_model.Shape()
    assert llama_cpp.llama_model_n_embd(tiny) == shape.width
    assert llama_cpp.llama_model_n_layer(tiny) == shape.layers
    assert llama_cpp.llama_model_n_ctx_train(tiny) == shape.context
    assert llama_cpp.llama_vocab_n_tokens(vocab) == tiny_model.N_VOCAB
    assert llama_cpp.llama_vocab_get_score(vocab, 7) == -7.0
    assert llama_cpp.llama_vocab_is_eog(vocab, tiny_model.END) is True


def test_a_negative_result_keeps_its_sign(vocab: Any) -> None:
    """`llama_tokenize` says how many tokens it would have needed."""
    assert llama_cpp.llama_tokenize(vocab, b"zzz", 3, None, 0, False, False) < 0


def test_c_strings_are_bytes(vocab: Any, sampler: Any) -> None:
    token = tiny_model.N_VOCAB - len(tiny_model.WORDS) + tiny_model.WORDS.index(WORD)
    assert llama_cpp.llama_vocab_get_text(vocab, token) == WORD.encode()
    assert llama_cpp.llama_sampler_name(sampler) == b"greedy"


def test_a_null_string_is_none(tiny: Any) -> None:
    assert llama_cpp.llama_model_chat_template(tiny, None) is None


def test_void_functions_return_none(context: Any) -> None:
    assert llama_cpp.llama_set_embeddings(context, False) is None


# ---------------------------------------------------------------- handles and pointers


def test_handles_are_ints(tiny: Any, context: Any) -> None:
    assert type(tiny) is int
    assert type(llama_cpp.llama_get_memory(context)) is int
    assert llama_cpp.llama_get_model(context) == tiny


def test_a_null_handle_is_none() -> None:
    assert load(Path("/there/is/no/such/file")) is None


def test_an_int_handle_becomes_cdata_by_a_cast(context: Any) -> None:
    cdata = ffi.cast("struct llama_context *", context)
    assert lib.llama_n_ctx(cdata) == llama_cpp.llama_n_ctx(context)


def test_pointers_to_numbers_are_ctypes_pointers(decoded: Any) -> None:
    assert type(llama_cpp.llama_get_logits(decoded)) is ctypes.POINTER(ctypes.c_float)


def test_pointers_to_structs_are_ctypes_pointers(sampler: Any) -> None:
    assert type(sampler) is ctypes.POINTER(llama_cpp.llama_sampler)
    assert sampler.contents.iface


def test_a_null_pointer_is_falsy(context: Any) -> None:
    nothing = llama_cpp.llama_get_logits_ith(context, 99)
    assert type(nothing) is ctypes.POINTER(ctypes.c_float)
    assert not nothing
    assert not llama_cpp.llama_get_embeddings(context)


def pointed_structs() -> set[Any]:
    """Return the structs with fields that some function returns a pointer to."""
    results = [ffi.typeof(getattr(lib, name)).result for name in functions]
    structs = {result.item for result in results if result.kind == "pointer" and result.item.kind == "struct"}
    return {struct for struct in structs if struct.cname.removeprefix("struct ") in ctypes_types.type_names()}


def test_each_struct_that_is_pointed_to_has_a_ctypes_type_of_the_size_that_c_says() -> None:
    structs = {struct.cname.removeprefix("struct "): struct for struct in pointed_structs()}
    assert {"ggml_tensor", "llama_sampler"} <= set(structs)
    sizes = {name: ctypes.sizeof(ctypes_types.named(name)) for name in structs}
    assert sizes == {name: ffi.sizeof(struct) for name, struct in structs.items()}


# ---------------------------------------------------------------- memory that is shared


def test_the_array_that_holds_the_tokens_is_the_memory_that_c_writes(vocab: Any) -> None:
    tokens = np.full(32, -1, np.int32)
    before = tokens.ctypes.data
    count = llama_cpp.llama_tokenize(vocab, TEXT, len(TEXT), tokens, len(tokens), True, False)
    assert count > 1
    assert tokens[0] == tiny_model.BEGIN
    assert (tokens[:count] >= 0).all()
    assert (tokens[count:] == -1).all()
    assert tokens.ctypes.data == before


def token_buffers() -> dict[str, Callable[[], Any]]:
    return {
        "ctypes array": lambda: (ctypes.c_int32 * 32)(),
        "array.array": lambda: array.array("i", [0] * 32),
        "memoryview": lambda: np.zeros(32, np.int32).data,
        "cffi": lambda: ffi.new("llama_token[32]"),
        "llama_token array": lambda: (llama_cpp.llama_token * 32)(),
    }


@pytest.mark.parametrize("make", token_buffers().values(), ids=token_buffers())
def test_every_kind_of_buffer_receives_the_same_tokens(make: Callable[[], Any], vocab: Any) -> None:
    tokens, reference = make(), np.zeros(32, np.int32)
    count = llama_cpp.llama_tokenize(vocab, TEXT, len(TEXT), reference, 32, True, False)
    assert llama_cpp.llama_tokenize(vocab, TEXT, len(TEXT), tokens, 32, True, False) == count
    assert list(tokens)[:count] == reference[:count].tolist()


@pytest.mark.parametrize("text", [bytearray(TEXT), memoryview(TEXT), np.frombuffer(TEXT, np.uint8)], ids=type)
def test_text_that_comes_with_its_length_needs_no_nul(text: Any, vocab: Any) -> None:
    tokens, reference = np.zeros(32, np.int32), np.zeros(32, np.int32)
    count = llama_cpp.llama_tokenize(vocab, TEXT, len(TEXT), reference, 32, True, False)
    assert llama_cpp.llama_tokenize(vocab, text, len(TEXT), tokens, 32, True, False) == count
    assert (tokens == reference).all()


def test_a_slice_of_an_array_is_written_in_its_place(vocab: Any) -> None:
    tokens = np.full(32, -1, np.int32)
    count = llama_cpp.llama_tokenize(vocab, TEXT, len(TEXT), tokens[8:], 24, True, False)
    assert (tokens[:8] == -1).all()
    assert (tokens[8 : 8 + count] >= 0).all()


def test_byref_with_an_offset_points_behind_the_start(vocab: Any) -> None:
    tokens = (ctypes.c_int32 * 32)(*[-1] * 32)
    count = llama_cpp.llama_tokenize(vocab, TEXT, len(TEXT), ctypes.byref(tokens, 16), 28, True, False)
    assert list(tokens)[:4] == [-1] * 4
    assert all(token >= 0 for token in tokens[4 : 4 + count])


def test_numpy_s_view_of_the_logits_is_the_context_s_memory(decoded: Any) -> None:
    first, second = logits_of(decoded), logits_of(decoded)
    first[3] = 1234.5
    assert second[3] == 1234.5
    assert np.shares_memory(first, second)


def test_a_written_logit_is_what_the_sampler_sees(decoded: Any, sampler: Any) -> None:
    logits_of(decoded)[11] = 1e6
    assert llama_cpp.llama_sampler_sample(sampler, decoded, -1) == 11


def test_text_is_written_into_a_bytearray(vocab: Any) -> None:
    buffer = bytearray(16)
    token = tiny_model.BYTES + ord("x")
    assert llama_cpp.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, False) == 1
    assert buffer == b"x" + bytes(15)


# ---------------------------------------------------------------- structs by value


def test_a_struct_by_value_is_an_instance_of_the_ctypes_structure() -> None:
    params = llama_cpp.llama_context_default_params()
    assert type(params) is llama_cpp.llama_context_params
    assert isinstance(params, ctypes.Structure)


def test_the_fields_of_a_struct_by_value_are_those_that_c_returned() -> None:
    """cffi's own call of the C function's address, past the border, is the other witness."""
    direct = ffi.addressof(lib, "llama_context_default_params")()
    params = llama_cpp.llama_context_default_params()
    seen = ffi.from_buffer("struct llama_context_params *", params)
    fields = [name for name, _ in ffi.typeof(direct).fields]  # what is between them is nobody's
    assert [getattr(seen, name) for name in fields] == [getattr(direct, name) for name in fields]


def test_each_call_returns_a_struct_of_its_own() -> None:
    first, second = llama_cpp.llama_model_default_params(), llama_cpp.llama_model_default_params()
    first.n_gpu_layers = 77
    assert second.n_gpu_layers != 77


def test_a_batch_keeps_the_tokens_that_it_points_to() -> None:
    tokens = np.arange(1000, dtype=np.int32)
    batch = llama_cpp.llama_batch_get_one(tokens, 1000)
    address = tokens.ctypes.data
    del tokens
    gc.collect()
    np.full(1000, -1, np.int32)  # would take the freed place
    assert ctypes.cast(batch.token, ctypes.c_void_p).value == address
    assert batch.token[:1000] == list(range(1000))


def test_a_batch_lets_go_of_the_tokens_when_it_is_gone() -> None:
    tokens = np.arange(10, dtype=np.int32)
    gone = []

    class Watched(np.ndarray[Any, Any]):
        def __del__(self) -> None:
            gone.append(True)

    batch = llama_cpp.llama_batch_get_one(tokens.view(Watched), 10)
    gc.collect()
    assert gone == []
    del batch
    gc.collect()
    assert gone == [True]


def test_an_array_that_a_batch_points_to_cannot_move_away() -> None:
    tokens = array.array("i", range(4))
    batch = llama_cpp.llama_batch_get_one(tokens, 4)
    with pytest.raises(BufferError):
        tokens.extend(range(100_000))
    assert batch.token[:4] == [0, 1, 2, 3]


def test_an_array_moves_again_after_its_batch_is_gone() -> None:
    tokens = array.array("i", range(4))
    llama_cpp.llama_batch_get_one(tokens, 4)
    gc.collect()
    tokens.extend(range(4))
    assert len(tokens) == 8


def test_an_array_is_held_only_while_the_call_runs(vocab: Any) -> None:
    tokens = array.array("i", [0] * 32)
    llama_cpp.llama_tokenize(vocab, TEXT, len(TEXT), tokens, 32, True, False)
    with pytest.raises(TypeError):
        llama_cpp.llama_tokenize(vocab, TEXT, "8", tokens, 32, True, False)
    with pytest.raises(TypeError):
        llama_cpp.llama_tokenize(vocab, TEXT, len(TEXT), tokens, "32", True, False)
    tokens.append(1)
    assert len(tokens) == 33


def test_a_batch_that_c_allocated_is_filled_through_its_pointers(context: Any) -> None:
    batch = llama_cpp.llama_batch_init(4, 0, 1)
    try:
        for i, token in enumerate((tiny_model.BEGIN, 5)):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, i, 1, 0
            batch.logits[i] = i == 1
        batch.n_tokens = 2
        assert llama_cpp.llama_decode(context, batch) == 0
        assert llama_cpp.llama_get_logits_ith(context, 1)
    finally:
        llama_cpp.llama_batch_free(batch)


def test_cdata_structs_by_value_are_taken(context: Any) -> None:
    tokens = ffi.new("llama_token[]", [tiny_model.BEGIN, 5])
    batch = ffi.new("struct llama_batch *", {"n_tokens": 2, "token": tokens})
    assert llama_cpp.llama_decode(context, batch[0]) == 0


def test_lib_and_the_facade_return_the_same_types(tiny: Any) -> None:
    assert type(lib.llama_model_default_params()) is llama_cpp.llama_model_params
    assert lib.llama_model_get_vocab(tiny) == llama_cpp.llama_model_get_vocab(tiny)


@alone
@returns((256, 0))
def test_cdata_is_taken_by_functions_that_lib_was_never_asked_for(ctx: Any) -> object:
    """cffi makes the types of a function when `lib` is first asked for it; the facade's functions come without."""
    n_ctx = llama_cpp.llama_n_ctx(ffi.cast("struct llama_context *", ctx))
    ffi.new("struct llama_context_params *", {"n_ctx": 256})
    tokens = ffi.new("llama_token[]", TOKENS)
    batch = ffi.new("struct llama_batch *", {"n_tokens": len(TOKENS), "token": tokens})
    return n_ctx, llama_cpp.llama_decode(ctx, batch[0])
