"""`llamacffi.arrays` gives what loops over C's functions give, and its views never show memory that has changed."""

from __future__ import annotations

import ctypes
import gc
import operator
import sys
import threading
from collections.abc import Callable, Iterator
from ctypes import c_void_p
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from llamacffi import LlamaError, LlamaValueError, arrays, ffi
from llamacffi import llama_cpp as llama
from support.cells import alone, returns
from support.objects import busy, context_of, decode, load, logits_of
from support.processes import output_of_python
from support.tiny_model import BEGIN, N_VOCAB
from test_conformance import references, texts, vocabularies

TEXT = "the cat at a dog"

# ---------------------------------------------------------------- tokens


@pytest.mark.parametrize("vocabulary", vocabularies(), ids=lambda path: path.stem.removeprefix("ggml-vocab-"))
def test_tokens_and_pieces_are_those_of_upstreams_vectors(vocabulary: Path) -> None:
    """The tokens are in upstream's files; the pieces are those that C gives one by one."""
    model = load(vocabulary, vocab_only=True)
    vocab = llama.llama_model_get_vocab(model)
    for text, expected in zip(texts(vocabulary), references(vocabulary), strict=True):
        tokens = arrays.tokenize(vocab, text, add_special=False)
        assert tokens.tolist() == expected
        assert tokens.dtype == np.int32
        for special in (False, True):
            assert arrays.pieces(vocab, tokens, special) == pieces_in_a_loop(vocab, expected, special)
    llama.llama_model_free(model)


def pieces_in_a_loop(vocab: Any, tokens: list[int], special: bool) -> list[bytes]:
    room = ctypes.create_string_buffer(256)
    sizes = ((llama.llama_token_to_piece(vocab, token, room, len(room), 0, special)) for token in tokens)
    return [room.raw[:size] for size in sizes]


def test_text_may_be_str_or_bytes_with_nul(vocab: Any) -> None:
    assert arrays.tokenize(vocab, "é\0").tolist() == arrays.tokenize(vocab, "é\0".encode()).tolist()
    assert arrays.detokenize(vocab, arrays.tokenize(vocab, "é\0", add_special=False)) == "é\0".encode()


def test_detokenize_gives_the_text_back(vocab: Any) -> None:
    """SentencePiece writes a space before the first word; C takes it away where no special token stands before it."""
    plain, whole = arrays.tokenize(vocab, TEXT, add_special=False), arrays.tokenize(vocab, TEXT)
    assert whole.tolist() == [BEGIN, *plain.tolist()]
    assert arrays.detokenize(vocab, plain) == TEXT.encode()
    assert arrays.detokenize(vocab, whole) == b" " + TEXT.encode()
    assert arrays.detokenize(vocab, whole, unparse_special=True) == b"<s> " + TEXT.encode()
    assert arrays.detokenize(vocab, whole, remove_special=True, unparse_special=True) == b" " + TEXT.encode()


def test_what_is_longer_than_the_room_that_is_tried_first_comes_whole(tmp_path: Path) -> None:
    """A token of 3,000 bytes, and more of them than a first guess has room for."""
    path = tmp_path / "long.gguf"
    write_vocabulary(path, ["<unk>", "x" * 3000])
    vocab = llama.llama_model_get_vocab(load(path, vocab_only=True))
    assert arrays.pieces(vocab, [1, 1, 0, 1], special=True) == [b"x" * 3000, b"x" * 3000, b"<unk>", b"x" * 3000]
    assert arrays.detokenize(vocab, [1] * 50) == b"x" * 150_000


def write_vocabulary(path: Path, tokens: list[str]) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(16)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([gguf.TokenType.UNKNOWN] + [gguf.TokenType.NORMAL] * (len(tokens) - 1))
    writer.add_unk_token_id(0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


NOTHING: list[Any] = [[], (), np.array([], np.int64)]


@pytest.mark.parametrize("nothing", NOTHING, ids=["list", "tuple", "array"])
def test_no_tokens_have_no_text(vocab: Any, nothing: Any) -> None:
    assert arrays.pieces(vocab, nothing) == []
    assert arrays.detokenize(vocab, nothing) == b""
    assert arrays.tokenize(vocab, "", add_special=False).tolist() == []


TAKEN: dict[str, Callable[[list[int]], Any]] = {
    "a list": list,
    "int64": lambda tokens: np.array(tokens, np.int64),
    "uint8": lambda tokens: np.array(tokens, np.uint8),
    "every second": lambda tokens: np.repeat(np.array(tokens, np.int32), 2)[::2],
    "a ctypes array": lambda tokens: (ctypes.c_int32 * len(tokens))(*tokens),
}


@pytest.mark.parametrize("form", TAKEN)
def test_tokens_come_in_many_forms(vocab: Any, form: str) -> None:
    expected = pieces_in_a_loop(vocab, [5, 6, 200], True)
    assert arrays.pieces(vocab, TAKEN[form]([5, 6, 200]), special=True) == expected


def test_a_vocabulary_is_taken_as_a_call_takes_it(vocab: Any) -> None:
    for form in (c_void_p(vocab), ffi.cast("struct llama_vocab *", vocab)):
        assert arrays.pieces(form, [70]) == arrays.pieces(vocab, [70])


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        ([1.0], TypeError, r"pieces\(\): tokens must be whole numbers, not float64"),
        ([True], TypeError, "not bool"),
        (["a"], TypeError, "whole numbers"),
        ([2**31], LlamaValueError, "must fit int32"),
        (np.array([2**63], np.uint64), LlamaValueError, "must fit int32"),
        ([[1, 2]], LlamaValueError, "must have 1 dimensions, not 2"),
        (5, LlamaValueError, "must have 1 dimensions, not 0"),
        ([0, -1], LlamaValueError, r"pieces\(\): tokens \(.*\) holds at 1 the token -1"),
        ([N_VOCAB], LlamaValueError, f"holds at 0 the token {N_VOCAB}, where the vocabulary has {N_VOCAB}"),
    ],
)
def test_what_are_no_tokens_is_refused(vocab: Any, tokens: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        arrays.pieces(vocab, tokens)


def test_what_is_no_vocabulary_is_refused(tiny: Any) -> None:
    calls: list[tuple[Callable[[Any, Any], object], Any]] = [
        (arrays.pieces, [1]),
        (arrays.detokenize, [1]),
        (arrays.tokenize, "a"),
    ]
    for function, given in calls:
        with pytest.raises(LlamaValueError, match=r"must be a live llama_vocab, not a llama_model"):
            function(tiny, given)
        with pytest.raises(LlamaValueError, match="not NULL"):
            function(None, given)
        with pytest.raises(TypeError, match="must be a handle"):
            function(1.5, given)


def test_text_that_is_none_is_refused(vocab: Any) -> None:
    with pytest.raises(TypeError, match=r"tokenize\(\): text must be str or bytes, not int"):
        arrays.tokenize(vocab, 5)  # type: ignore[arg-type]


def test_a_vocabulary_that_is_freed_is_refused() -> None:
    model = load()
    vocab = llama.llama_model_get_vocab(model)
    llama.llama_model_free(model)
    with pytest.raises(LlamaValueError, match=r"pieces\(\): .*llama_model_free\(\) has freed"):
        arrays.pieces(vocab, [1])


# ---------------------------------------------------------------- batches


@pytest.fixture
def batch() -> Iterator[Any]:
    made = llama.llama_batch_init(8, 0, 2)
    yield made
    llama.llama_batch_free(made)


def rows(batch: Any) -> list[tuple[int, int, list[int], int]]:
    """Read what stands in a batch, item by item."""
    return [
        (batch.token[i], batch.pos[i], batch.seq_id[i][: batch.n_seq_id[i]], batch.logits[i])
        for i in range(batch.n_tokens)
    ]


def test_a_batch_has_what_it_is_filled_with(batch: Any) -> None:
    arrays.fill_batch(batch, [5, 6, 7])
    assert rows(batch) == [(5, 0, [0], 0), (6, 1, [0], 0), (7, 2, [0], 1)]
    arrays.fill_batch(batch, [5, 6], pos=10, seq_id=1, logits=True)
    assert rows(batch) == [(5, 10, [1], 1), (6, 11, [1], 1)]
    arrays.fill_batch(batch, np.array([5, 6]), pos=[3, 9], seq_id=[0, 1], logits=[True, False])
    assert rows(batch) == [(5, 3, [0], 1), (6, 9, [1], 0)]
    arrays.fill_batch(batch, [5, 6], seq_id=[[0, 1], [1, 0]], logits=np.array([0, 1]))
    assert rows(batch) == [(5, 0, [0, 1], 0), (6, 1, [1, 0], 1)]
    arrays.fill_batch(batch, [5, 6], seq_id=[[0, 1]])
    assert rows(batch) == [(5, 0, [0, 1], 0), (6, 1, [0, 1], 1)]
    arrays.fill_batch(batch, [])
    assert rows(batch) == []


def test_it_decodes_as_one_that_is_filled_item_by_item(context: Any, batch: Any) -> None:
    assert decode(context) == 0
    expected = logits_of(context).tolist()
    llama.llama_memory_clear(llama.llama_get_memory(context), True)
    arrays.fill_batch(batch, [BEGIN, 5, 6])
    assert llama.llama_decode(context, batch) == 0
    assert arrays.logits(context).copy().tolist() == expected


def test_a_batch_may_be_cdata() -> None:
    made = ffi.new("struct llama_batch *")
    own = llama.llama_batch_init(4, 0, 1)
    ffi.memmove(made, ffi.from_buffer(own), ffi.sizeof("struct llama_batch"))
    arrays.fill_batch(made[0], [5, 6])
    own.n_tokens = made[0].n_tokens
    assert rows(own) == [(5, 0, [0], 0), (6, 1, [0], 1)]
    llama.llama_batch_free(own)


def test_what_the_caller_put_in_place_of_a_sequences_array_is_left_alone(batch: Any) -> None:
    mine = (ctypes.c_int32 * 2)(7, 7)
    batch.seq_id[0] = mine
    arrays.fill_batch(batch, [5], seq_id=1)
    assert (rows(batch), list(mine)) == ([(5, 0, [1], 1)], [7, 7])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"tokens": range(9)}, LlamaValueError, r"fill_batch\(\): batch .* has room for 8 tokens, not for 9"),
        ({"tokens": [1], "seq_id": [[0, 1, 2]]}, LlamaValueError, "room for 2 sequences of a token, not for 3"),
        ({"tokens": [1, 2, 3], "pos": [0, 1]}, LlamaValueError, "pos must have one item for each of 3 tokens, not 2"),
        ({"tokens": [1, 2], "seq_id": [0, 0, 0]}, LlamaValueError, "seq_id must have one item for each of 2"),
        ({"tokens": [1, 2], "logits": [1, 1, 1]}, LlamaValueError, "logits must have one item for each of 2"),
        ({"tokens": [1.5]}, TypeError, r"fill_batch\(\): tokens must be whole numbers, not float64"),
        ({"tokens": [1], "pos": 0.5}, TypeError, "pos must be whole numbers, not float64"),
        ({"tokens": [1, 2], "pos": 2**31 - 1}, LlamaValueError, "pos must fit int32, but goes from 2147483647"),
        ({"tokens": [1], "seq_id": [[[0]]]}, LlamaValueError, "seq_id must have 0 or 1 or 2 dimensions, not 3"),
    ],
)
def test_what_does_not_fit_a_batch_is_refused_and_leaves_it(
    batch: Any, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    arrays.fill_batch(batch, [5])
    with pytest.raises(error, match=message):
        arrays.fill_batch(batch, **given)
    assert rows(batch) == [(5, 0, [0], 1)]


def test_a_batch_that_llama_batch_init_did_not_make_is_refused(batch: Any) -> None:
    one = llama.llama_batch_get_one((ctypes.c_int32 * 4)(), 4)
    embeddings = llama.llama_batch_init(4, 8, 1)
    freed = llama.llama_batch_init(4, 0, 1)
    llama.llama_batch_free(freed)
    for given, message in (
        (one, "was not made by llama_batch_init"),
        (freed, "or is freed already"),
        (embeddings, "was made for embeddings"),
    ):
        with pytest.raises(LlamaValueError, match=message):
            arrays.fill_batch(given, [1])
    llama.llama_batch_free(embeddings)
    with pytest.raises(TypeError, match=r"fill_batch\(\): batch .* must be a llama_batch struct, not int"):
        arrays.fill_batch(5, [1])
    batch.pos = (ctypes.c_int32 * 8)()
    with pytest.raises(LlamaValueError, match=r"has an array that llama_batch_init\(\) did not give it"):
        arrays.fill_batch(batch, [1])


def test_a_batch_that_a_thread_is_decoding_is_refused(context: Any, batch: Any) -> None:
    arrays.fill_batch(batch, [5])
    with busy(context, batch), pytest.raises(LlamaError, match="in use by another thread"):
        arrays.fill_batch(batch, [6])
    arrays.fill_batch(batch, [6])


# ---------------------------------------------------------------- views


@pytest.fixture
def decoded(context: Any) -> Any:
    """A context that has logits."""
    assert decode(context) == 0
    return context


def test_a_view_has_the_numbers_that_c_points_to(decoded: Any) -> None:
    expected = logits_of(decoded).copy()
    view = arrays.logits(decoded)
    assert (view.shape, view.ndim, str(view.dtype), len(view)) == ((N_VOCAB,), 1, "float32", N_VOCAB)
    assert np.asarray(view).tolist() == view.copy().tolist() == list(view) == expected.tolist()
    assert (view[3], view[-1]) == (expected[3], expected[-1])
    assert view[2:9:3].tolist() == expected[2:9:3].tolist()
    assert view[[4, 1]].tolist() == expected[[4, 1]].tolist()
    assert view[expected > 0].tolist() == expected[expected > 0].tolist()
    assert np.asarray(view, np.float64).dtype == np.float64
    with pytest.raises(IndexError):
        view[N_VOCAB]


NUMPY: dict[str, Callable[[Any], Any]] = {
    "argmax": np.argmax,
    "max": np.max,
    "argpartition": lambda row: np.argpartition(row, -5)[-5:],
    "norm": np.linalg.norm,
    "softmax": lambda row: np.exp(row - np.max(row)) / np.sum(np.exp(row - np.max(row))),
    "dot": lambda row: np.dot(row, row),
    "product": lambda row: row @ np.ones((len(row), 2), np.float32),
    "comparison": lambda row: row > 0,
    "reduce": np.add.reduce,
    "nested": lambda row: np.concatenate([row, [row[0]], row]),
    "keyword": lambda row: np.average(row, weights=row),
    "out": lambda row: np.multiply(row, 2, out=np.empty(len(row), np.float32)),
    "where": lambda row: np.where(row > 0, row, 0),
    "split": lambda row: np.concatenate(np.array_split(row, 3)),
}


@pytest.mark.parametrize("name", NUMPY)
def test_numpy_computes_with_a_view_as_with_an_array(decoded: Any, name: str) -> None:
    np.testing.assert_array_equal(NUMPY[name](arrays.logits(decoded)), NUMPY[name](logits_of(decoded).copy()))


SHOWING: dict[str, Callable[[Any], Any]] = {
    "the whole": operator.itemgetter(...),
    "a slice": operator.itemgetter(slice(1, 5)),
    "reshaped": lambda view: np.reshape(view, (1, -1)),
    "split": lambda view: np.array_split(view, 2)[0],
    "broadcast": lambda view: np.broadcast_arrays(view, view)[1],
    "an array": np.asarray,
}


@pytest.mark.parametrize("name", SHOWING)
def test_no_result_is_part_of_the_contexts_memory(decoded: Any, name: str) -> None:
    result = SHOWING[name](arrays.logits(decoded))
    assert not np.shares_memory(result, logits_of(decoded))
    before = result.tolist()
    assert decode(decoded, [9]) == 0
    assert result.tolist() == before


def test_nothing_is_copied_that_is_not_asked_for(decoded: Any) -> None:
    """Where C's memory is changed under a view, it shows that; and NumPy is given that memory itself."""
    view = arrays.logits(decoded)
    seen: list[int] = []

    def address_of(row: Any) -> int:
        seen.append(row.ctypes.data)
        return 0

    np.apply_along_axis(address_of, 0, view)
    assert seen == [logits_of(decoded).ctypes.data]
    logits_of(decoded)[3] = 77.0
    assert view[3] == 77.0


def test_a_view_cannot_be_written_to(decoded: Any) -> None:
    view = arrays.logits(decoded)
    before = view.copy()
    with pytest.raises(TypeError, match="item assignment"):
        view[0] = 1  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        view += 1
    with pytest.raises(ValueError, match="read-only"):
        np.negative(before, out=arrays.logits(decoded))  # type: ignore[call-overload]
    assert arrays.logits(decoded).copy().tolist() == before.tolist()


def test_an_array_without_a_copy_is_refused(decoded: Any) -> None:
    with pytest.raises(ValueError, match="gives arrays that are copies"):
        arrays.logits(decoded).__array__(copy=False)  # as np.asarray(…, copy=False) asks for it


READINGS: dict[str, Callable[[Any], Any]] = {
    "an item": operator.itemgetter(0),
    "a copy": operator.methodcaller("copy"),
    "an array": np.asarray,
    "argmax": np.argmax,
    "a sum": lambda view: view + 1,
    "iteration": list,
}
OUTDATED = r"llama_get_logits_ith\(\): ctx .* has computed again since this view was made"


@pytest.mark.parametrize("reading", READINGS)
def test_a_view_is_not_read_once_the_context_has_computed_again(decoded: Any, reading: str) -> None:
    view = arrays.logits(decoded)
    assert decode(decoded, [9]) == 0
    with pytest.raises(LlamaValueError, match=OUTDATED):
        READINGS[reading](view)
    READINGS[reading](arrays.logits(decoded))


@pytest.mark.parametrize("reading", READINGS)
def test_a_view_is_not_read_once_the_context_is_freed(tiny: Any, reading: str) -> None:
    ctx = context_of(tiny)
    decode(ctx)
    view = arrays.logits(ctx)
    llama.llama_free(ctx)
    with pytest.raises(LlamaValueError, match=r"llama_get_logits_ith\(\): ctx .* llama_free\(\) has freed"):
        READINGS[reading](view)


def test_neither_is_it_where_another_context_has_the_address(tiny: Any) -> None:
    ctx = context_of(tiny)
    decode(ctx)
    view = arrays.logits(ctx)
    llama.llama_free(ctx)
    others = [context_of(tiny) for _ in range(50)]
    for other in others:
        decode(other)
    with pytest.raises(LlamaValueError, match=r"has (computed again|freed)"):
        view[0]
    for other in others:
        llama.llama_free(other)


def test_a_decode_that_fails_ends_a_view_too(decoded: Any) -> None:
    view = arrays.logits(decoded)
    assert decode(decoded, [N_VOCAB]) != 0
    with pytest.raises(LlamaValueError, match=OUTDATED):
        view[0]


def test_what_computes_nothing_leaves_a_view_alone(decoded: Any) -> None:
    view = arrays.logits(decoded)
    before = view.copy()
    llama.llama_memory_clear(llama.llama_get_memory(decoded), True)
    llama.llama_synchronize(decoded)
    arrays.restore(decoded, arrays.state(decoded))
    assert view.copy().tolist() == before.tolist()


def test_a_view_shows_itself(decoded: Any) -> None:
    assert repr(arrays.logits(decoded)) == f"<{N_VOCAB} logits at -1 of llama_context {decoded:#x}>"


def test_each_token_that_asked_for_it_has_logits(context: Any, batch: Any) -> None:
    arrays.fill_batch(batch, [BEGIN, 5, 6], logits=[True, False, True])
    assert llama.llama_decode(context, batch) == 0
    assert arrays.logits(context, 2)[:].tolist() == arrays.logits(context)[:].tolist()
    assert arrays.logits(context, 0)[:].tolist() == arrays.logits(context, -2)[:].tolist()
    assert arrays.logits(context, 0)[:].tolist() != arrays.logits(context, 2)[:].tolist()
    with pytest.raises(LlamaError, match=r"llama_get_logits_ith\(\): ctx .* nothing at 1: .*asks.*\nllama.cpp logged"):
        arrays.logits(context, 1)


def test_views_of_two_contexts_and_of_one_meet(tiny: Any, decoded: Any) -> None:
    other = context_of(tiny)
    decode(other)
    mine, twin = arrays.logits(decoded), arrays.logits(decoded)
    assert not np.any(mine - twin)
    assert not np.any(mine - arrays.logits(other))
    llama.llama_free(other)


def test_what_is_no_context_has_no_outputs(tiny: Any, context: Any) -> None:
    with pytest.raises(LlamaValueError, match="must be a live llama_context, not a llama_model"):
        arrays.logits(tiny)
    with pytest.raises(LlamaError, match="has computed nothing at -1"):
        arrays.logits(context)
    with pytest.raises(TypeError, match="integer"):
        arrays.logits(context, 0.5)  # type: ignore[arg-type]


# ---------------------------------------------------------------- embeddings


def embeddings_in_a_loop(pointer: Any, count: int) -> list[float]:
    return [pointer[i] for i in range(count)]


def test_embeddings_of_tokens(tiny: Any) -> None:
    ctx = context_of(tiny, embeddings=True, pooling_type=llama.LLAMA_POOLING_TYPE_NONE)
    decode(ctx)
    width = llama.llama_model_n_embd(tiny)
    for i in (-1, 0, 1):
        expected = embeddings_in_a_loop(llama.llama_get_embeddings_ith(ctx, i), width)
        assert arrays.embeddings(ctx, i).copy().tolist() == expected
    with pytest.raises(LlamaError, match=r"llama_get_embeddings_seq\(\): ctx .* nothing at 0: .*pooling_type"):
        arrays.embeddings(ctx, seq_id=0)
    llama.llama_free(ctx)


def test_embeddings_of_a_sequence(tiny: Any) -> None:
    """The mean of the tokens' embeddings, which another context gives."""
    pooled = context_of(tiny, embeddings=True, pooling_type=llama.LLAMA_POOLING_TYPE_MEAN)
    single = context_of(tiny, embeddings=True, pooling_type=llama.LLAMA_POOLING_TYPE_NONE)
    decode(pooled)
    decode(single)
    view = arrays.embeddings(pooled, seq_id=0)
    mean = np.mean([arrays.embeddings(single, i).copy() for i in range(3)], axis=0)
    np.testing.assert_allclose(view, mean, atol=1e-5)
    decode(pooled, [7])
    with pytest.raises(LlamaValueError, match=r"llama_get_embeddings_seq\(\): ctx .* has computed again"):
        view.copy()
    for ctx in (pooled, single):
        llama.llama_free(ctx)


# ---------------------------------------------------------------- threads, and what a function keeps


def test_a_reading_waits_for_a_decode_and_then_refuses(decoded: Any) -> None:
    view = arrays.logits(decoded)
    outcomes: list[str] = []

    def read() -> None:
        try:
            view.copy()
        except LlamaValueError as error:
            outcomes.append(str(error))

    with busy(decoded) as results:
        reader = threading.Thread(target=read)
        reader.start()
        reader.join(0.2)
        assert (reader.is_alive(), outcomes) == (True, [])
    reader.join(20)
    assert results == [0]
    assert "has computed again" in outcomes[0]


def test_a_decode_waits_for_a_reading(decoded: Any) -> None:
    view = arrays.logits(decoded)
    inside, go_on = threading.Event(), threading.Event()
    seen: list[bool] = []
    results: list[int] = []

    def slow(row: Any) -> int:
        before = row.copy()
        inside.set()
        go_on.wait(20)
        seen.append(bool(np.array_equal(before, row)))
        return 0

    reader = threading.Thread(target=lambda: np.apply_along_axis(slow, 0, view))
    reader.start()
    assert inside.wait(20)
    decoder = threading.Thread(target=lambda: results.append(decode(decoded, [9])))
    decoder.start()
    decoder.join(0.2)
    assert results == []
    go_on.set()
    reader.join(20)
    decoder.join(20)
    assert (seen, results) == ([True], [0])


def test_what_a_view_is_given_to_cannot_compute_in_its_context(decoded: Any) -> None:
    view = arrays.logits(decoded)
    before = view.copy()
    for act, name in (
        (lambda _: decode(decoded, [9]), "llama_decode"),
        (lambda _: llama.llama_free(decoded), "llama_free"),
    ):
        with pytest.raises(LlamaError, match=rf"{name}\(\): ctx .* in use by the call that runs this callback"):
            np.apply_along_axis(act, 0, view)
    assert view.copy().tolist() == before.tolist()


def keep_an_array(view: arrays.View) -> Any:
    """Give the view to a function that puts away what it gets: the memory itself."""
    kept: list[Any] = []

    def keep(row: Any) -> int:
        kept.append(row)
        return 0

    np.apply_along_axis(keep, 0, view)
    return kept.pop()


HELD = r"\(\): ctx .* is held by an array of its memory"


def test_an_array_that_a_function_kept_holds_the_context(decoded: Any) -> None:
    array = keep_an_array(arrays.logits(decoded))
    before = array.tolist()
    for act, name in ((decode, "llama_decode"), (llama.llama_free, "llama_free")):
        with pytest.raises(LlamaError, match=name + HELD):
            act(decoded)
    assert array.tolist() == before == logits_of(decoded).tolist()
    assert np.argmax(arrays.logits(decoded)) == np.argmax(array)
    part = array[1:]
    del array
    with pytest.raises(LlamaError, match=HELD):
        decode(decoded)
    del part
    assert decode(decoded, [9]) == 0


def test_what_kept_an_array_cannot_get_another_one(decoded: Any) -> None:
    lent = keep_an_array(arrays.logits(decoded))
    while isinstance(lent, np.ndarray):
        lent = lent.base
    with pytest.raises(BufferError, match="the reading that lent this memory is over"):
        memoryview(lent.obj if isinstance(lent, memoryview) else lent)
    del lent
    assert decode(decoded, [9]) == 0


def test_an_exception_does_not_hold_the_context(decoded: Any) -> None:
    """Its traceback has the frames that had the memory."""
    view = arrays.logits(decoded)
    with pytest.raises(ValueError) as raised:
        view + np.ones(3)
    with pytest.raises(ZeroDivisionError) as raised_in_python:
        np.apply_along_axis(lambda row: 1 // 0, 0, view)
    assert decode(decoded, [9]) == 0
    assert raised.value.__traceback__
    assert raised_in_python.value.__traceback__


def test_views_are_read_by_many_threads_while_another_decodes(tiny: Any) -> None:
    """Each reading is of the computation that its view was made of, or refused."""
    ctx = context_of(tiny)
    decode(ctx, [BEGIN])
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        while not stop.is_set():
            view = arrays.logits(ctx)
            try:
                assert np.array_equal(view, view.copy())
            except LlamaValueError as error:
                assert "has computed again" in str(error)
            except BaseException as error:
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    results = [decode(ctx, [5]) for _ in range(100)]
    stop.set()
    for reader in readers:
        reader.join(20)
    llama.llama_free(ctx)
    assert (results, failures) == ([0] * 100, [])


@alone
@returns("refused")
def test_a_kept_array_outlives_what_would_move_the_memory(ctx: Any) -> object:
    """A decode with more outputs has another memory: freed, the old one would be reused at once."""
    batch = llama.llama_batch_init(200, 0, 1)
    arrays.fill_batch(batch, [5], logits=True)
    llama.llama_decode(ctx, batch)
    array = keep_an_array(arrays.logits(ctx))
    before = array.tolist()
    arrays.fill_batch(batch, [5] * 200, pos=1, logits=True)
    try:
        llama.llama_decode(ctx, batch)
    except LlamaError:
        return "refused" if array.tolist() == before else "changed"
    return "decoded"


# ---------------------------------------------------------------- metadata and states


def test_metadata_is_what_gguf_reads(model: Any, model_path: Path) -> None:
    fields = gguf.GGUFReader(model_path).fields
    found = arrays.metadata(model)
    own = {name: field.contents() for name, field in fields.items() if not name.startswith("GGUF.")}
    assert set(found) == {name for name, value in own.items() if not isinstance(value, list)}
    for name, text in found.items():
        value = own[name]
        if isinstance(value, str):
            assert text == value
        elif isinstance(value, bool):
            assert text == str(value).lower()
        else:
            assert float(text) == pytest.approx(value)


def test_a_long_value_comes_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.gguf"
    write_vocabulary(path, ["<unk>", "a"])
    writer = gguf.GGUFWriter(path, "llama")
    for name, field in gguf.GGUFReader(path).fields.items():
        if not name.startswith(("GGUF.", "general.architecture")):
            element = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], element)
    writer.add_chat_template("ä" * 70_000)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    loaded = load(path, vocab_only=True)
    assert arrays.metadata(loaded)["tokenizer.chat_template"] == "ä" * 70_000
    llama.llama_model_free(loaded)


def test_what_is_no_model_has_no_metadata(context: Any) -> None:
    with pytest.raises(LlamaValueError, match=r"metadata\(\): model .* not a llama_context"):
        arrays.metadata(context)


def test_a_state_is_what_c_writes_and_brings_a_context_back(tiny: Any, decoded: Any) -> None:
    size = llama.llama_state_get_size(decoded)
    expected = ctypes.create_string_buffer(size)
    assert llama.llama_state_get_data(decoded, (ctypes.c_uint8 * size).from_buffer(expected), size) == size
    saved = arrays.state(decoded)
    assert saved.tobytes() == expected.raw
    decode(decoded, [7])
    after = logits_of(decoded).tolist()
    other = context_of(tiny)
    for given in (saved, saved.tobytes()):
        arrays.restore(other, given)
        decode(other, [7])
        assert logits_of(other).tolist() == after
    llama.llama_free(other)


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda saved: saved[: len(saved) // 2], LlamaError, r"restore\(\): llama.cpp could not take the \d+ bytes of"),
        (lambda saved: np.append(saved, np.uint8(0)), LlamaError, r"they go on behind a state of \d+"),
        (lambda saved: b"", LlamaError, "could not take the 0 bytes"),
        (lambda saved: saved.astype(np.float32), TypeError, "c_uint8"),
        (lambda saved: saved[::2], LlamaValueError, "C-contiguous"),
    ],
)
def test_what_is_no_state_is_refused(decoded: Any, damage: Any, error: type[Exception], message: str) -> None:
    saved = arrays.state(decoded)
    with pytest.raises(error, match=message):
        arrays.restore(decoded, damage(saved))


def test_a_freed_context_has_no_state(tiny: Any) -> None:
    ctx = context_of(tiny)
    llama.llama_free(ctx)
    with pytest.raises(LlamaValueError, match="freed"):
        arrays.state(ctx)


# ---------------------------------------------------------------- the module


def test_only_this_module_imports_numpy() -> None:
    program = "import sys, llamacffi, llamacffi.llama_cpp; print('numpy' in sys.modules)"
    assert output_of_python(program) == "False\n"


def test_nothing_is_left_of_what_was_made(vocab: Any, decoded: Any) -> None:
    """Each function leaves the references that it found."""
    tokens = arrays.tokenize(vocab, TEXT)
    batch = llama.llama_batch_init(64, 0, 1)
    view = arrays.logits(decoded)
    acts = (
        lambda: arrays.pieces(vocab, tokens),
        lambda: arrays.detokenize(vocab, tokens),
        lambda: arrays.fill_batch(batch, tokens),
        lambda: view + view,
        lambda: view[1:3],
    )
    for act in acts:
        before = blocks_after(act, 200)
        assert blocks_after(act, 2_000) - before < 500  # what NumPy and CPython keep for later; one a call is 2,000
    llama.llama_batch_free(batch)


def blocks_after(act: Callable[[], object], calls: int) -> int:
    for _ in range(calls):
        act()
    gc.collect()
    return sys.getallocatedblocks()
