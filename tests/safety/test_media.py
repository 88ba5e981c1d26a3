"""Images and sound: who owns what, what is behind each pointer, and what comes out of damaged, huge and empty files."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import signal
import struct
import tempfile
import threading
import zlib
from ctypes import byref
from pathlib import Path
from typing import Any

import pytest

from llamacffi import LlamaError, LlamaValueError, last_error
from llamacffi import llama_cpp as llama
from llamacffi import mtmd_cpp as mtmd
from support import any_projector, pictures, tiny_model, tiny_projector
from support.cells import raises, refused, returns
from support.media import (
    batch_of,
    chunks_of,
    decoded,
    evaluate,
    ffmpeg_folder,
    handles,
    image_chunk,
    load_media,
    media_chunk,
    media_of,
    picture,
    projector,
    sound,
    text_of,
    tokenize_media,
    video_of,
)
from support.objects import Gate, context_of, load

# ---------------------------------------------------------------- who owns what


@refused(LlamaValueError, r"mtmd_input_chunk_free\(\): chunk .+ belongs to a mtmd_input_chunks, and is freed with it")
def test_a_chunk_of_several_is_not_freed_alone(model: Any) -> None:
    mtmd.mtmd_input_chunk_free(image_chunk(media_of(model)))


@refused(LlamaValueError, r"mtmd_input_chunk_get_type\(\): chunk .+ that mtmd_input_chunks_free\(\) has freed")
def test_a_chunk_goes_with_the_others(model: Any) -> None:
    chunks = chunks_of(media_of(model), picture())
    chunk = media_chunk(chunks)
    mtmd.mtmd_input_chunks_free(chunks)
    mtmd.mtmd_input_chunk_get_type(chunk)


@refused(LlamaValueError, r"mtmd_image_tokens_get_n_tokens\(\): .+ that mtmd_input_chunks_free\(\) has freed")
def test_what_an_image_became_goes_with_the_chunks(model: Any) -> None:
    chunks = chunks_of(media_of(model), picture())
    tokens = mtmd.mtmd_input_chunk_get_tokens_image(media_chunk(chunks))
    mtmd.mtmd_input_chunks_free(chunks)
    mtmd.mtmd_image_tokens_get_n_tokens(tokens)


@refused(LlamaValueError, r"mtmd_input_chunk_get_type\(\): chunk .+ that mtmd_tokenize\(\) has freed")
def test_a_chunk_goes_when_its_place_is_filled_anew(model: Any) -> None:
    media = media_of(model)
    chunks = chunks_of(media, picture())
    chunk = media_chunk(chunks)
    tokenize_media(media, chunks, picture())
    mtmd.mtmd_input_chunk_get_type(chunk)


@returns(0)
def test_the_chunks_that_took_their_place_are_alive(model: Any) -> int:
    media = media_of(model)
    chunks = chunks_of(media, picture())
    media_chunk(chunks)
    for _ in range(20):
        tokenize_media(media, chunks, picture())
        status = mtmd.mtmd_encode_chunk(media, media_chunk(chunks))
    return int(status)


@returns([0, 0])
def test_a_batch_reads_its_chunks_and_its_context_on(model: Any) -> list[int]:
    media = media_of(model)
    chunks = chunks_of(media, picture())
    copy = mtmd.mtmd_input_chunk_copy(media_chunk(chunks))
    statuses = []
    for chunk, free, owner in (
        (media_chunk(chunks), mtmd.mtmd_input_chunks_free, chunks),
        (copy, mtmd.mtmd_input_chunk_free, copy),
    ):
        batch = batch_of(media)
        mtmd.mtmd_batch_add_chunk(batch, chunk)
        free(owner)
        if owner == copy:
            mtmd.mtmd_free(media)
            llama.llama_model_free(model)
        statuses.append(mtmd.mtmd_batch_encode(batch))
        mtmd.mtmd_batch_free(batch)
    return statuses


@refused(LlamaValueError, r"mtmd_tokenize\(\): output .+ has chunks that a mtmd_batch reads")
def test_chunks_that_a_batch_reads_keep_their_place(model: Any) -> None:
    media = media_of(model)
    chunks = chunks_of(media, picture())
    batch = batch_of(media)
    mtmd.mtmd_batch_add_chunk(batch, media_chunk(chunks))
    tokenize_media(media, chunks, picture())


@returns((0, 16))
def test_an_mtmd_context_outlives_the_model_that_it_was_made_with(model: Any) -> tuple[int, int]:
    media = media_of(model)
    llama.llama_model_free(model)
    chunk = image_chunk(media)
    return mtmd.mtmd_encode_chunk(media, chunk), mtmd.mtmd_input_chunk_get_n_tokens(chunk)


# The one kind that test_handles.py does not try: it is freed with its chunk alone.
TOKENS = {"NULL": (None, "not NULL"), "unknown": (0x7F0000001000, "not an address that no call returned")}


@pytest.mark.parametrize("which", TOKENS)
@refused(
    LlamaValueError,
    lambda which: rf"mtmd_image_tokens_get_n_tokens\(\): .+ must be a live mtmd_image_tokens, {TOKENS[which][1]}",
)
def test_what_is_no_image_s_tokens_is_refused(which: str) -> None:
    mtmd.mtmd_image_tokens_get_n_tokens(TOKENS[which][0])


@refused(LlamaValueError, r"mtmd_tokenize\(\): bitmaps .+ must hold at \[0\] a live mtmd_bitmap, not a freed one")
def test_a_bitmap_is_not_read_that_the_text_s_own_class_frees(model: Any) -> None:
    media, bitmap, text = media_of(model), picture(), text_of()

    freeing = property(lambda own: mtmd.mtmd_bitmap_free(bitmap))
    own_text: Any = type("own_text", (mtmd.mtmd_input_text,), {"_objects": freeing})
    given = byref(own_text.from_buffer(text))
    mtmd.mtmd_tokenize(media, mtmd.mtmd_input_chunks_init(), given, handles(bitmap), 1)


# ---------------------------------------------------------------- videos


def items_of(video: Any) -> list[Any]:
    """Read a video to its end: texts, and the sizes of its frames."""
    bitmap, text = ctypes.c_void_p(), ctypes.c_char_p()
    found: list[Any] = []
    while mtmd.mtmd_helper_video_read_next(video, byref(bitmap), byref(text)) == 0:
        found.append(text.value or (mtmd.mtmd_bitmap_get_nx(bitmap), mtmd.mtmd_bitmap_get_ny(bitmap)))
        mtmd.mtmd_bitmap_free(bitmap)
    return found


@returns([b"Video:", (2, 2), b"[0m0.00s]", (2, 2)])
def test_a_video_gives_texts_and_frames_which_are_the_caller_s(model: Any) -> list[Any]:
    return items_of(video_of(media_of(model)))


@returns((None, True, 0))
def test_a_bitmap_reads_its_video_on(model: Any) -> tuple[Any, bool, int]:
    media, options = media_of(model), mtmd.mtmd_helper_init_opt_default()
    options.video_params.ffmpeg_bin_dir = ffmpeg_folder()
    made = mtmd.mtmd_helper_bitmap_init_from_buf_wrapper(media, b"a video", 7, False, options)
    freed = mtmd.mtmd_helper_video_free(made.video_ctx)
    chunks = chunks_of(media, made.bitmap)
    status = mtmd.mtmd_encode_chunk(media, media_chunk(chunks))
    mtmd.mtmd_bitmap_free(made.bitmap)
    return freed, mtmd.mtmd_helper_get_n_tokens(chunks) > 32, int(status)


@refused(LlamaValueError, r"mtmd_helper_video_get_info\(\): ctx .+ that mtmd_helper_video_free\(\) has freed")
def test_a_video_that_a_bitmap_reads_is_freed_for_the_caller(model: Any) -> None:
    media, options = media_of(model), mtmd.mtmd_helper_init_opt_default()
    options.video_params.ffmpeg_bin_dir = ffmpeg_folder()
    made = mtmd.mtmd_helper_bitmap_init_from_buf_wrapper(media, b"a video", 7, False, options)
    mtmd.mtmd_helper_video_free(made.video_ctx)
    mtmd.mtmd_helper_video_get_info(made.video_ctx)


# ---------------------------------------------------------------- what is behind each pointer


def short_pixels(media: Any, ctx: Any) -> None:
    mtmd.mtmd_bitmap_init(4, 4, bytes(47))


def short_samples(media: Any, ctx: Any) -> None:
    mtmd.mtmd_bitmap_init_from_audio(4, (ctypes.c_float * 3)())


def few_bitmaps(media: Any, ctx: Any) -> None:
    mtmd.mtmd_tokenize(media, mtmd.mtmd_input_chunks_init(), byref(text_of()), handles(picture()), 2)


def long_text(media: Any, ctx: Any) -> None:
    text = mtmd.mtmd_input_text(text=b"abc", text_len=4, add_special=True, parse_special=True)
    mtmd.mtmd_tokenize(media, mtmd.mtmd_input_chunks_init(), byref(text), handles(), 0)


def no_text(media: Any, ctx: Any) -> None:
    mtmd.mtmd_tokenize(media, mtmd.mtmd_input_chunks_init(), byref(mtmd.mtmd_input_text(text_len=4)), handles(), 0)


def short_file(media: Any, ctx: Any) -> None:
    mtmd.mtmd_helper_bitmap_init_from_buf(media, b"abc", 4, False)


def short_embeddings(media: Any, ctx: Any) -> None:
    few, past = (ctypes.c_float * 511)(), ctypes.c_int32()
    mtmd.mtmd_helper_decode_image_chunk(media, ctx, image_chunk(media), few, 0, 0, 64, byref(past), None, None)


def few_positions(media: Any, ctx: Any) -> None:
    tokens = mtmd.mtmd_input_chunk_get_tokens_image(image_chunk(media))
    mtmd.mtmd_helper_image_get_decoder_pos(tokens, 0, (mtmd.mtmd_decoder_pos * 15)())


def position_beyond(media: Any, ctx: Any) -> None:
    mtmd.mtmd_image_tokens_get_decoder_pos(mtmd.mtmd_input_chunk_get_tokens_image(image_chunk(media)), 0, 16)


def batch_of_none(media: Any, ctx: Any) -> None:
    evaluate(media, ctx, image_chunk(media), n_batch=0)


def short_chunk(media: Any, ctx: Any) -> None:
    mtmd.mtmd_input_chunk_load(b"abc", 4)


def freed_part(media: Any, ctx: Any) -> None:
    bitmap = picture()
    part = mtmd.mtmd_input_part(bitmap=bitmap)
    mtmd.mtmd_bitmap_free(bitmap)
    parts = (ctypes.POINTER(mtmd.mtmd_input_part) * 1)(ctypes.pointer(part))
    mtmd.mtmd_tokenize_from_parts(media, mtmd.mtmd_input_chunks_init(), parts, 1, True)


def null_part(media: Any, ctx: Any) -> None:
    parts = (ctypes.POINTER(mtmd.mtmd_input_part) * 1)()
    mtmd.mtmd_tokenize_from_parts(media, mtmd.mtmd_input_chunks_init(), parts, 1, True)


def no_marker(media: Any, ctx: Any) -> None:
    media_of(llama.llama_get_model(ctx), media_marker=None)


def no_threads(media: Any, ctx: Any) -> None:
    media_of(llama.llama_get_model(ctx), n_threads=0)


def huge_bitmap(media: Any, ctx: Any) -> None:
    mtmd.mtmd_bitmap_init(65535, 65535, None)


def another_width(media: Any, ctx: Any) -> None:
    wide = load(tiny_model.write(projector().with_name("wide.gguf"), tiny_model.Shape(width=64)))
    evaluate(media, context_of(wide), image_chunk(media))


WRONG: dict[str, str] = {
    "short_pixels": r"mtmd_bitmap_init\(\): data .+ 48",
    "short_samples": r"mtmd_bitmap_init_from_audio\(\): data .+ 4",
    "few_bitmaps": r"mtmd_tokenize\(\): bitmaps .+ 2",
    "long_text": r"mtmd_tokenize\(\): text .+ has text_len = 4, but text holds 3 bytes",
    "no_text": r"mtmd_tokenize\(\): text\.text .+ not be NULL",
    "short_file": r"mtmd_helper_bitmap_init_from_buf\(\): buf .+ 4",
    "short_embeddings": r"mtmd_helper_decode_image_chunk\(\): encoded_embd .+ 512",
    "few_positions": r"mtmd_helper_image_get_decoder_pos\(\): out_pos .+ 16",
    "position_beyond": r"mtmd_image_tokens_get_decoder_pos\(\): i .+ 15",
    "batch_of_none": r"mtmd_helper_eval_chunk_single\(\): n_batch .+ 1",
    "short_chunk": r"mtmd_input_chunk_load\(\): buf .+ 4",
    "freed_part": r"mtmd_tokenize_from_parts\(\): parts .+ must hold at \[0\]\.bitmap a live mtmd_bitmap",
    "null_part": r"mtmd_tokenize_from_parts\(\): parts .+ NULL at 0",
    "no_marker": r"mtmd_init_from_file\(\): ctx_params\.media_marker .+ not be NULL",
    "no_threads": r"mtmd_init_from_file\(\): ctx_params\.n_threads .+ from 1 to 512, not 0",
    "huge_bitmap": r"mtmd_bitmap_init\(\): ny .+ 2048",
    "another_width": r"mtmd_helper_eval_chunk_single\(\): ctx .+ width 32, and that of lctx has 64",
}


@pytest.mark.parametrize("name", WRONG)
@refused(LlamaValueError, lambda name: WRONG[name])
def test_what_c_would_read_or_write_beyond_is_refused(name: str, model: Any, ctx: Any) -> None:
    globals()[name](media_of(model), ctx)


# ---------------------------------------------------------------- files


TOO_MANY_PIXELS = r"mtmd_helper_bitmap_init_from_buf\(\): the image has more than 134217728 pixels: scale it down"


@pytest.mark.parametrize("side", [11586, 30000, 60000])
@refused(LlamaValueError, lambda side: TOO_MANY_PIXELS)
def test_an_image_with_too_many_pixels_is_refused(side: int, model: Any) -> None:
    """Up to 10.8 GB of zeros, in 10.8 MB; stb_image refuses only from 2**30 bytes on."""
    decoded(media_of(model), pictures.png_of(side, side, zlib.compress(bytes(2**20))))


@returns((None, True))
def test_compressed_data_beyond_the_image_is_not_unpacked_without_end(model: Any) -> tuple[Any, bool]:
    """5 GB of zeros behind a header of two pixels: no more than 1 GiB of them are unpacked."""
    packer = zlib.compressobj(9, wbits=-15)
    piece = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    bitmap = decoded(media_of(model), pictures.png_of(1, 2, b"\x78\xda" + 320 * piece + b"\x03\0\0\0\0\0"))
    return bitmap, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3 * 2**20


@refused(LlamaValueError, r"mtmd_helper_bitmap_init_from_buf\(\): the sound has more than 134217728 samples: cut it")
def test_a_sound_with_too_many_samples_is_refused(model: Any) -> None:
    """What has one sample a second becomes 16,000 times as long at the projector's rate."""
    decoded(media_of(model, "ultravox"), pictures.wav(80000, rate=1))


@pytest.mark.parametrize("width, height", [(0, 0), (0, 5), (5, 0)])
@returns(None)
def test_an_image_file_of_no_size_is_none(width: int, height: int, model: Any) -> Any:
    return decoded(media_of(model), pictures.png_of(width, height, zlib.compress(b"")))


@pytest.mark.parametrize("file", [b"", b"\0", b"BM", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WAVE", b"\xff" * 64], ids=repr)
@returns(None)
def test_a_file_of_nothing_is_none(file: bytes, model: Any) -> Any:
    return decoded(media_of(model, "mlp" if not file.startswith(b"RIFF") else "ultravox"), file)


@pytest.mark.parametrize("width, height", [(0, 0), (0, 5), (5, 0)])
@returns(2)
def test_a_bitmap_of_no_size_is_not_tokenized(width: int, height: int, model: Any) -> int:
    return tokenize_media(media_of(model), mtmd.mtmd_input_chunks_init(), mtmd.mtmd_bitmap_init(width, height, b""))


@pytest.mark.parametrize("width, height", [(1, 1), (1, 65535), (65535, 1), (65535, 2048), (3, 7)])
@pytest.mark.parametrize("kind", ["mlp", "gemma3"])
@returns((0, True))
def test_any_other_size_is(kind: str, width: int, height: int, model: Any) -> tuple[int, bool]:
    chunks = mtmd.mtmd_input_chunks_init()
    media = media_of(model, kind)
    status = tokenize_media(media, chunks, mtmd.mtmd_bitmap_init(width, height, None))
    return status, mtmd.mtmd_input_chunk_get_n_tokens(media_chunk(chunks)) == tiny_projector.KINDS[kind].tokens


@returns(2)
def test_a_sound_of_no_samples_is_not_tokenized(model: Any) -> int:
    media = media_of(model, "ultravox")
    return tokenize_media(media, mtmd.mtmd_input_chunks_init(), mtmd.mtmd_bitmap_init_from_audio(0, None))


@returns(0)
def test_a_sound_of_two_samples_is(model: Any) -> int:
    media = media_of(model, "ultravox")
    return tokenize_media(
        media, mtmd.mtmd_input_chunks_init(), mtmd.mtmd_bitmap_init_from_audio(2, (ctypes.c_float * 2)())
    )


@raises(LlamaValueError, r"mtmd_support_vision")
def test_a_projector_for_another_width_is_not_loaded(model: Any) -> None:
    wide = load(tiny_model.write(projector().with_name("wide2.gguf"), tiny_model.Shape(width=64)))
    media = media_of(wide)
    assert media is None
    assert "mismatch between text model (n_embd = 64) and mmproj (n_embd = 32)" in last_error()
    mtmd.mtmd_support_vision(media)


def damaged(kind: str, old: bytes, new: bytes) -> Path:
    """Write a projector in whose file something is replaced, which stands there once."""
    contents = projector(kind).read_bytes()
    assert contents.count(old) == 1
    path = Path(tempfile.mkdtemp(), "damaged.gguf")
    path.write_bytes(contents.replace(old, new))
    return path


LACKS = "the projector's file lacks a tensor that its kind of projector computes with"


@pytest.mark.parametrize(
    "kind, tensor",
    [
        ("mlp", b"v.patch_embd.weight"),
        ("gemma3", b"v.blk.0.attn_q.weight"),
        ("ultravox", b"a.blk.1.attn_v.weight"),
    ],
)
@returns((1, True))
def test_a_projector_without_a_tensor_that_its_graph_needs_encodes_nothing(
    kind: str, tensor: bytes, model: Any
) -> tuple[int, bool]:
    media = load_media(damaged(kind, tensor, tensor.upper()), model)
    chunk = media_chunk(chunks_of(media, sound() if kind == "ultravox" else picture()))
    return mtmd.mtmd_encode_chunk(media, chunk), LACKS in last_error()


@pytest.mark.parametrize("kind, tensor", [("mlp", b"mm.2.weight"), ("gemma3", b"v.patch_embd.weight")])
@returns((None, True))
def test_one_whose_graph_is_made_to_warm_up_is_not_loaded(kind: str, tensor: bytes, model: Any) -> tuple[Any, bool]:
    return load_media(damaged(kind, tensor, tensor.upper()), model, warmup=True), LACKS in last_error()


@returns((2, True))
def test_a_projector_that_says_that_what_divides_is_0_tokenizes_nothing(model: Any) -> tuple[int, bool]:
    kind = any_projector.AnyProjector(any_projector.kinds().index("granite_speech"), is_whole=True)
    kind.keys |= {"clip.audio.projector.window_size": 0, "clip.audio.projector.downsample_rate": 0}
    kind.tensors["a.proj_linear.weight"] = (any_projector.WIDTH, any_projector.WIDTH)  # as wide as the model
    media = kind.load(Path(tempfile.mkdtemp(), "any.gguf"), model)
    status = tokenize_media(media, mtmd.mtmd_input_chunks_init(), sound())
    return status, "that a number is 0 which its kind of projector divides by" in last_error()


# ---------------------------------------------------------------- chunks out of a buffer


def saved(chunk: Any) -> bytes:
    size = ctypes.c_size_t()
    assert mtmd.mtmd_input_chunk_save(chunk, None, 0, byref(size)) == 0
    buffer = ctypes.create_string_buffer(size.value)
    assert mtmd.mtmd_input_chunk_save(chunk, buffer, len(buffer), None) == 0
    return buffer.raw


@returns((16, 1))
def test_a_saved_chunk_has_its_tokens_and_no_image(model: Any) -> tuple[int, int]:
    media = media_of(model)
    data = saved(image_chunk(media))
    chunk = mtmd.mtmd_input_chunk_load(data, len(data))
    return mtmd.mtmd_input_chunk_get_n_tokens(chunk), mtmd.mtmd_encode_chunk(media, chunk)


@returns(1)
def test_a_chunk_that_says_it_holds_no_image_is_not_encoded(model: Any) -> int:
    """Upstream takes it for one that has its image, and reads the first of none."""
    sizes = struct.pack("<IIIII", 1, 1, 0, 0, 1)  # columns, rows, kind of positions, index, frames
    data = struct.pack("<QIQB", 2, 1, 0, 1) + sizes + struct.pack("<Q", 0) + struct.pack("<BQB", 0, 0, 0)
    chunk = mtmd.mtmd_input_chunk_load(data, len(data))
    assert chunk
    return int(mtmd.mtmd_encode_chunk(media_of(model), chunk))


# ---------------------------------------------------------------- callbacks and threads


class Interrupted(Exception):
    """What the callbacks of these tests raise."""


def interrupt(*arguments: object) -> int:
    raise Interrupted


@raises(Interrupted, "")
def test_an_exception_of_the_progress_comes_out_of_loading(model: Any) -> None:
    media_of(model, progress_callback=mtmd.mtmd_progress_callback(interrupt))


@returns((None, True))
def test_a_progress_that_says_no_stops_loading(model: Any) -> tuple[Any, bool]:
    told: list[float] = []

    def stop(progress: float, data: object) -> bool:
        told.append(progress)
        return False

    return media_of(model, progress_callback=mtmd.mtmd_progress_callback(stop)), len(told) > 0


@raises(Interrupted, "")
def test_an_exception_of_a_graph_s_callback_comes_out_of_encoding(model: Any) -> None:
    media = media_of(model, cb_eval=llama.ggml_backend_sched_eval_callback(interrupt))
    mtmd.mtmd_encode_chunk(media, image_chunk(media))


@returns((True, 0))
def test_ctrl_c_stops_encoding_between_the_nodes_of_its_graph(model: Any) -> tuple[bool, int]:
    media = media_of(model, "ultravox")
    chunk = media_chunk(chunks_of(media, decoded(media, pictures.wav())))
    threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            mtmd.mtmd_encode_chunk(media, chunk)
    return "graph_compute failed" in last_error(), mtmd.mtmd_encode_chunk(media, chunk)


@raises(Interrupted, "")
def test_an_exception_after_a_decode_comes_out(model: Any, ctx: Any) -> None:
    media = media_of(model)
    chunk, past = image_chunk(media), ctypes.c_int32()
    mtmd.mtmd_encode_chunk(media, chunk)
    embeddings = mtmd.mtmd_get_output_embd(media)
    callback = mtmd.mtmd_helper_post_decode_callback(interrupt)
    mtmd.mtmd_helper_decode_image_chunk(media, ctx, chunk, embeddings, 0, 0, 4, byref(past), callback, None)


@raises(Interrupted, "")
def test_an_exception_of_a_lazy_bitmap_comes_out_of_tokenizing(model: Any) -> None:
    media = media_of(model)
    lazy = mtmd.mtmd_bitmap_init_lazy(media, b"lazy", None, mtmd.mtmd_bitmap_lazy_callback(interrupt))
    tokenize_media(media, mtmd.mtmd_input_chunks_init(), lazy)


def lazily(media: Any, *bitmaps: Any) -> Any:
    """Make a bitmap that stands for these, and what keeps its callback."""

    def give(index: int, data: object, bitmap: Any, text: Any) -> int:
        if index == len(bitmaps):
            return -1
        bitmap[0] = bitmaps[index]
        return 0

    return mtmd.mtmd_bitmap_init_lazy(media, None, None, mtmd.mtmd_bitmap_lazy_callback(give))


@refused(LlamaValueError, r"mtmd_bitmap_free\(\): bitmap .+ that mtmd_tokenize\(\) has freed")
def test_what_a_lazy_bitmap_gave_is_c_s(model: Any) -> None:
    media = media_of(model)
    given = [picture(), picture()]
    chunks = chunks_of(media, lazily(media, *given))
    assert mtmd.mtmd_helper_get_n_tokens(chunks) > 32
    mtmd.mtmd_bitmap_free(given[1])


@pytest.mark.parametrize("times", [1, 2])
@returns((2, True))
def test_a_lazy_bitmap_that_gives_what_is_freed_is_refused(times: int, model: Any) -> tuple[int, bool]:
    media, given = media_of(model), picture()
    if times == 1:
        mtmd.mtmd_bitmap_free(given)
    status = tokenize_media(media, mtmd.mtmd_input_chunks_init(), lazily(media, *[given] * times))
    return status, "gave no live mtmd_bitmap" in last_error()


@refused(LlamaError, r"mtmd_encode_chunk\(\): ctx .+ is in use by another thread")
def test_two_threads_do_not_encode_with_one_context(model: Any) -> None:
    gate = Gate()

    def wait(*arguments: object) -> bool:
        gate.wait()
        return True

    media = media_of(model, cb_eval=llama.ggml_backend_sched_eval_callback(wait))
    chunk = image_chunk(media)
    with gate.holding(lambda: mtmd.mtmd_encode_chunk(media, chunk)):
        mtmd.mtmd_encode_chunk(media, chunk)


# ---------------------------------------------------------------- logs


@returns((True, True, True))
def test_mtmd_s_log_goes_where_it_is_sent_and_back(model: Any) -> tuple[bool, bool, bool]:
    """To its own callback, and where there is none to the other's."""
    own: list[bytes] = []
    other: list[bytes] = []
    to_own = llama.llama_log_callback(lambda level, text, data: own.append(text))
    to_other = llama.llama_log_callback(lambda level, text, data: other.append(text))
    mtmd.mtmd_log_set(to_own, None)
    llama.llama_log_set(to_other, None)
    media = media_of(model)
    first = len(own), any(b"clip_model_loader" in text for text in other)
    mtmd.mtmd_helper_log_set(None, None)
    decoded(media, b"nothing")
    llama.llama_log_set(None, None)
    return first[0] > 0, not first[1], any(b"failed to decode buffer" in text for text in other)


@returns("Failed to load CLIP model")
def test_why_a_projector_was_not_loaded_is_the_last_error(model: Any) -> str:
    assert mtmd.mtmd_init_from_file(b"/no/such/file", model, mtmd.mtmd_context_params_default()) is None
    return "Failed to load CLIP model" if "/no/such/file" in last_error() else last_error()
