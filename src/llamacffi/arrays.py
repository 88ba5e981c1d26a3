"""NumPy arrays of tokens, batches, outputs, metadata and states, where C's functions would want a loop in Python.

It is the one module that imports NumPy (the extra `arrays`). The loops are compiled (csrc/core/arrays.cpp), and take
what llama_cpp's functions take: handles as ints, `c_void_p` or cdata.

`logits` and `embeddings` give a `View` and no ndarray, since that would go on showing memory that the next decode
overwrites or frees, and nothing could stop it. A view copies nothing either: what is done with it (`np.argmax(view)`,
`view[:10]`, `view - other`) is done with the context's own memory, which is lent for that time (csrc/core/outputs.h):
a decode in another thread comes before or after it, and results are never part of that memory. Once the context has
computed again, or is freed, the view refuses. Who needs the numbers longer takes `view.copy()`, or `np.asarray(view)`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from llamacffi import _native
from llamacffi import llama_cpp as llama
from llamacffi._native import LlamaError, LlamaValueError, ffi, last_error

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    Arrays = dict[int, NDArray[np.float32]]  # by the id of the view whose memory each is

__all__ = [
    "View",
    "detokenize",
    "embeddings",
    "fill_batch",
    "logits",
    "metadata",
    "pieces",
    "restore",
    "state",
    "tokenize",
]

_BATCH = ffi.typeof("struct llama_batch")
_CONTEXT = ffi.typeof("struct llama_context *")
_MODEL = ffi.typeof("struct llama_model *")
_VOCAB = ffi.typeof("struct llama_vocab *")

_INT32 = np.iinfo(np.int32)
_TOKEN = np.dtype(np.int32)


# ---------------------------------------------------------------- tokens


def tokenize(
    vocab: object, text: str | bytes, add_special: bool = True, parse_special: bool = False
) -> NDArray[np.int32]:
    """Return the tokens of a text.

    Args:
        vocab: the vocabulary, as a call takes it.
        text: str, which is encoded as UTF-8, or bytes.
        add_special: whether to add what the model's texts begin and end with.
        parse_special: whether special tokens in the text are taken as such, and not as plain text.

    Returns:
        An array of its own.

    Raises:
        LlamaValueError: the text is too long.

    Source: `llama_tokenize` in llama.h.
    """
    data = _utf8("tokenize", text)
    tokens = np.empty(len(data) + 2, np.int32)  # as a rule no token has less than a byte
    count = llama.llama_tokenize(vocab, data, len(data), tokens, len(tokens), add_special, parse_special)
    if count < 0:
        if count == _INT32.min:
            raise LlamaValueError(f"tokenize(): text of {len(data)} bytes has more tokens than C can count: part it")
        tokens = np.empty(-count, np.int32)
        count = llama.llama_tokenize(vocab, data, len(data), tokens, len(tokens), add_special, parse_special)
    return tokens[:count].copy()


def detokenize(vocab: object, tokens: ArrayLike, remove_special: bool = False, unparse_special: bool = False) -> bytes:
    """Return the text of tokens.

    Args:
        vocab: the vocabulary, as a call takes it.
        tokens: whole numbers.
        remove_special: whether to leave out what `add_special` adds.
        unparse_special: whether special tokens are written, and not left out.

    Returns:
        Bytes, which need not be whole UTF-8: tokens may end in the middle of a character.

    Raises:
        LlamaValueError: a token is not in the vocabulary.

    Source: `llama_detokenize` in llama.h.
    """
    given = _int32("detokenize", "tokens", tokens)
    text = bytearray(8 * len(given) + 8)
    size = llama.llama_detokenize(vocab, given, len(given), text, len(text), remove_special, unparse_special)
    if size < 0:
        text = bytearray(-size)
        size = llama.llama_detokenize(vocab, given, len(given), text, len(text), remove_special, unparse_special)
    return bytes(text[:size])


def pieces(vocab: object, tokens: ArrayLike, special: bool = False) -> list[bytes]:
    """Return the piece of text that each token stands for.

    Args:
        vocab: the vocabulary, as a call takes it.
        tokens: whole numbers.
        special: whether special tokens are written, and not empty.

    Returns:
        As many bytes objects as tokens; a character may be parted among several.

    Raises:
        LlamaValueError: a token is not in the vocabulary.

    Source: `llama_token_to_piece` in llama.h, for each token.
    """
    found: list[bytes] = _native.pieces(vocab, _VOCAB, _int32("pieces", "tokens", tokens), special)
    return found


# ---------------------------------------------------------------- batches


def fill_batch(
    batch: Any,  # a ctypes Structure that is made at run time, or cdata
    tokens: ArrayLike,
    pos: ArrayLike = 0,
    seq_id: ArrayLike = 0,
    logits: ArrayLike | None = None,
) -> None:
    """Put tokens into a batch, in the place of what it held.

    Args:
        batch: one that `llama_batch_init(n_tokens, 0, n_seq_max)` made, with room for them.
        tokens: whole numbers.
        pos: the first one's position, which the others count on from; or one for each token.
        seq_id: the sequence of all tokens; or one for each token; or of shape (tokens, n), n sequences for each.
        logits: whether outputs are wanted, of all tokens or of each; None is of the last one alone.

    Raises:
        LlamaValueError: the batch has no room for that, was not made by `llama_batch_init`, or is freed.
        LlamaError: another thread is decoding it.
    """
    given = _int32("fill_batch", "tokens", tokens)
    count = len(given)
    ids = _int32("fill_batch", "seq_id", seq_id, dimensions=(0, 1, 2))
    positions = _int32("fill_batch", "pos", pos, dimensions=(0, 1))
    if positions.ndim == 0:
        positions = _int32("fill_batch", "pos", positions + np.arange(count))
    wanted = np.arange(1, count + 1) == count if logits is None else np.asarray(logits) != 0
    _native.fill_batch(
        batch,
        _BATCH,
        given,
        _spread("pos", positions, count),
        _spread("seq_id", ids if ids.ndim == 2 else ids[..., np.newaxis], count),
        _spread("logits", wanted, count).view(np.int8),
    )
    batch.n_tokens = count


def _spread(name: str, value: NDArray[Any], count: int) -> NDArray[Any]:
    """Return one row a token."""
    if value.ndim and len(value) not in (1, count):
        raise LlamaValueError(f"fill_batch(): {name} must have one item for each of {count} tokens, not {len(value)}")
    return np.ascontiguousarray(np.broadcast_to(value, (count, *value.shape[1:])))


# ---------------------------------------------------------------- outputs

_LOGITS, _EMBEDDINGS, _POOLED = range(3)  # csrc/core/outputs.cpp
_SHOWN = ("logits", "embeddings", "embeddings of a sequence")


class View(NDArrayOperatorsMixin):
    """A row of floats that a context has computed, in the context's own memory, until it computes again.

    NumPy's functions and operators, `len`, indexing and slicing take it as a read-only array of one dimension. What
    comes out of them is never part of the context's memory. So a view is passed to functions that may come late, and an
    array of its numbers (`view.copy()`, `np.asarray(view)`) to code that wants an ndarray.

    Raises:
        LlamaValueError: from any of these, once the context has computed again or is freed.
    """

    __slots__ = ("_computation", "_context", "_index", "_kind", "shape")

    dtype = np.dtype(np.float32)
    ndim = 1

    shape: tuple[int]

    def __init__(self, ctx: object, kind: int, index: int) -> None:
        """Find an output of a context; `logits` and `embeddings` are the way to one."""
        self._context, self._computation, length = _native.find_output(ctx, _CONTEXT, kind, index)
        self._kind, self._index = kind, index
        self.shape = (length,)

    def copy(self) -> NDArray[np.float32]:
        """Return an array of its own with these numbers."""
        copied: NDArray[np.float32] = self._read(np.ndarray.copy)
        return copied

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Copy, since an array outlives the numbers of a context."""
        if copy is False:
            raise ValueError("a view of a context's memory gives arrays that are copies: leave out copy=False")
        return self.copy().astype(dtype or self.dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _compute(getattr(ufunc, method), inputs, kwargs)

    def __array_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return _compute(func, args, kwargs)

    def __len__(self) -> int:
        return self.shape[0]

    @overload
    def __getitem__(self, key: int) -> np.float32: ...
    @overload
    def __getitem__(self, key: slice | ArrayLike) -> NDArray[np.float32]: ...
    def __getitem__(self, key: Any) -> Any:
        return self._read(lambda row: _own(row[key], [row]))

    def __iter__(self) -> Iterator[np.float32]:
        return iter(self.copy())

    def __repr__(self) -> str:
        return f"<{len(self)} {_SHOWN[self._kind]} at {self._index} of llama_context {self._context:#x}>"

    def _read(self, function: Callable[[NDArray[np.float32]], Any]) -> Any:
        """Call a function with an array of the memory, which is lent for that time."""
        try:
            return _native.read_output(
                lambda memory: function(np.frombuffer(memory, np.float32)),
                self._context,
                self._kind,
                self._index,
                self._computation,
            )
        except BaseException as error:
            # What the frames of the exception still hold is the context's memory, which would stay lent.
            traceback.clear_frames(error.__traceback__)
            raise


def logits(ctx: object, i: int = -1) -> View:
    """View the logits of a token that the last decode computed.

    Args:
        ctx: the context, as a call takes it.
        i: the token's place in the batch, which must have asked for its logits; from -1 downwards, those that have,
            from the last one.

    Returns:
        As many numbers as the vocabulary has tokens.

    Raises:
        LlamaError: there are none.

    Source: `llama_get_logits_ith` in llama.h.
    """
    return View(ctx, _LOGITS, i)


def embeddings(ctx: object, i: int = -1, *, seq_id: int | None = None) -> View:
    """View the embeddings of a token, or of a whole sequence, that the last decode or encode computed.

    Args:
        ctx: the context, made with `embeddings` or set so by `llama_set_embeddings`.
        i: the token's place in the batch, as of `logits`; for contexts with the pooling type NONE.
        seq_id: the sequence, for contexts that pool.

    Returns:
        As many numbers as the model's embeddings have; of a sequence, where a model ranks, one for each class.

    Raises:
        LlamaError: there are none.

    Source: `llama_get_embeddings_ith` and `llama_get_embeddings_seq` in llama.h.
    """
    return View(ctx, _EMBEDDINGS, i) if seq_id is None else View(ctx, _POOLED, seq_id)


def _compute(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function with arrays of the views' memory in their place."""
    views = {id(view): view for view in _views_in((args, kwargs))}
    return _lent(list(views.values()), {}, function, args, kwargs)


def _lent(views: list[View], arrays: Arrays, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Have the memory of the views lent, one inside of the other, and call the function innermost."""
    if not views:
        return _own(function(*_replaced(args, arrays), **_replaced(kwargs, arrays)), list(arrays.values()))
    first, *others = views
    return first._read(lambda row: _lent(others, {**arrays, id(first): row}, function, args, kwargs))


def _views_in(value: object) -> Iterator[View]:
    if isinstance(value, View):
        yield value
    elif type(value) in (tuple, list, dict):
        for one in value.values() if isinstance(value, dict) else value:  # type: ignore[attr-defined]
            yield from _views_in(one)


def _replaced(value: Any, arrays: Arrays) -> Any:
    """Return the argument with arrays in the place of views."""
    if isinstance(value, View):
        return arrays[id(value)]
    if type(value) in (tuple, list):
        return type(value)(_replaced(one, arrays) for one in value)
    if type(value) is dict:
        return {name: _replaced(one, arrays) for name, one in value.items()}
    return value


def _own(value: Any, lent: list[NDArray[np.float32]]) -> Any:
    """Return the result with copies in the place of arrays that are part of the memory that is lent."""
    if isinstance(value, np.ndarray):
        return value.copy() if any(np.may_share_memory(value, one) for one in lent) else value
    if type(value) in (tuple, list):
        return type(value)(_own(one, lent) for one in value)
    return value


# ---------------------------------------------------------------- models and contexts


def metadata(model: object) -> dict[str, str]:
    """Return what the model's file says of it, but for arrays, as llama.cpp writes it.

    Args:
        model: the model, as a call takes it.

    Returns:
        Values by their keys, such as `general.architecture`; what is no UTF-8 has replacement characters.

    Source: `llama_model_meta_key_by_index` and `llama_model_meta_val_str_by_index` in llama.h, for each key.
    """
    found: dict[str, str] = _native.metadata(model, _MODEL)
    return found


def state(ctx: object) -> NDArray[np.uint8]:
    """Return a copy of all that a context remembers, which `restore` takes.

    Args:
        ctx: the context, as a call takes it.

    Returns:
        Bytes, good for contexts of the same model with the same parameters.

    Raises:
        LlamaError: llama.cpp could not copy it.

    Source: `llama_state_get_size` and `llama_state_get_data` in llama.h.
    """
    data = np.empty(llama.llama_state_get_size(ctx), np.uint8)
    written = llama.llama_state_get_data(ctx, data, len(data))
    if not written:
        raise LlamaError(f"state(): llama.cpp could not copy the state of ctx: {last_error()}")
    return data if written == len(data) else data[:written].copy()


def restore(ctx: object, state: NDArray[np.uint8] | bytes) -> None:
    """Make a context what it was, or what another one was, when `state` copied it.

    Args:
        ctx: a context of the same model with the same parameters.
        state: what `state` returned, whole.

    Raises:
        LlamaError: that is no state of such a context, which may have lost what it remembered.

    Source: `llama_state_set_data` in llama.h.
    """
    size = state.nbytes if isinstance(state, np.ndarray) else len(state)
    taken = llama.llama_state_set_data(ctx, state, size)
    if not taken or taken != size:
        reason = f"they go on behind a state of {taken}" if taken else last_error()
        raise LlamaError(f"restore(): llama.cpp could not take the {size} bytes of state: {reason}")


# ---------------------------------------------------------------- arguments


def _utf8(function: str, text: object) -> bytes:
    if isinstance(text, str):
        return text.encode()
    if isinstance(text, bytes | bytearray):
        return bytes(text)
    raise TypeError(f"{function}(): text must be str or bytes, not {type(text).__name__}")


def _int32(function: str, name: str, value: ArrayLike, dimensions: tuple[int, ...] = (1,)) -> NDArray[np.int32]:
    """Return whole numbers as C takes them.

    Raises:
        TypeError: they are no whole numbers.
        LlamaValueError: one is beyond int32, or the array has other dimensions.
    """
    array = np.asarray(value)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{function}(): {name} must be whole numbers, not {array.dtype}")
    if array.ndim not in dimensions:
        expected = " or ".join(map(str, dimensions))
        raise LlamaValueError(f"{function}(): {name} must have {expected} dimensions, not {array.ndim}")
    if array.size and array.dtype != _TOKEN and not _INT32.min <= array.min() <= array.max() <= _INT32.max:
        raise LlamaValueError(f"{function}(): {name} must fit int32, but goes from {array.min()} to {array.max()}")
    return array.astype(_TOKEN, order="C", copy=False)
