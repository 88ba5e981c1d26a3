"""Saving leaves the whole file or nothing and says which; a load that fails gives None and says why."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest

import llamacffi
from llamacffi import llama_cpp
from support import tiny_model
from support.objects import context_of, decode, load
from support.processes import Ended, run_python

OLD = b"what stood there before"


def a_name_below_a_missing_folder(folder: Path) -> Path:
    return folder / "missing" / "model.gguf"


def a_name_below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "model.gguf"


def a_name_in_proc(_: Path) -> Path:
    """Not even root can make files there."""
    return Path("/proc/model.gguf")


def the_name_of_a_folder(folder: Path) -> Path:
    (folder / "model.gguf").mkdir()
    return folder / "model.gguf"


def too_long_a_name(folder: Path) -> Path:
    return folder / ("x" * (os.pathconf(folder, "PC_NAME_MAX") + 1))


UNWRITABLE = [
    a_name_below_a_missing_folder,
    a_name_below_a_file,
    a_name_in_proc,
    the_name_of_a_folder,
    too_long_a_name,
]
unwritable = pytest.mark.parametrize("place", UNWRITABLE, ids=lambda place: place.__name__)
Place = Callable[[Path], Path]


@pytest.fixture(autouse=True)
def no_file_is_kept(tmp_path: Path) -> Iterator[None]:
    """pytest keeps the folders of three runs; with a model in each they would fill the disk."""
    yield
    shutil.rmtree(tmp_path)


def everything_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def tensors(path: Path) -> dict[str, bytes]:
    """Read a file's tensors with the `gguf` package, which refuses a short file."""
    return {tensor.name: tensor.data.tobytes() for tensor in gguf.GGUFReader(path).tensors}


@pytest.fixture(scope="module")
def model(model_path: Path) -> Iterator[Any]:
    """The real model, with its weights in the order that they have in the file, whatever this CPU likes."""
    loaded = load(model_path, use_extra_bufts=False)
    yield loaded
    llama_cpp.llama_model_free(loaded)


# Saving


@pytest.mark.parametrize("spelling", [os.fsencode, os.fsdecode, Path], ids=["bytes", "str", "Path"])
def test_a_name_may_be_bytes_str_or_a_path(model: int, tmp_path: Path, spelling: type) -> None:
    name = tmp_path / "gespeichertes Modell ü.gguf"
    assert llama_cpp.llama_model_save_to_file(model, spelling(name)) is True
    assert everything_in(tmp_path) == [name]
    assert name.read_bytes()[:4] == b"GGUF"


def test_a_saved_file_has_the_tensors_of_the_original(model: int, model_path: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.gguf"
    assert llama_cpp.llama_model_save_to_file(model, saved) is True
    assert tensors(saved) == tensors(model_path)


def test_the_longest_name_that_a_folder_can_hold_will_do(model: int, tmp_path: Path) -> None:
    name = tmp_path / ("x" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    assert llama_cpp.llama_model_save_to_file(model, name) is True
    assert everything_in(tmp_path) == [name]


def test_a_relative_name_is_that_of_the_working_directory(
    model: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert llama_cpp.llama_model_save_to_file(model, b"model.gguf") is True
    assert everything_in(tmp_path) == [tmp_path / "model.gguf"]


def test_a_saved_file_replaces_the_old_one_and_keeps_its_mode(model: int, tmp_path: Path) -> None:
    name = tmp_path / "model.gguf"
    name.write_bytes(OLD)
    name.chmod(0o640)
    assert llama_cpp.llama_model_save_to_file(model, name) is True
    assert name.read_bytes()[:4] == b"GGUF"
    assert stat.S_IMODE(name.stat().st_mode) == 0o640


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_a_saved_file_has_the_mode_that_the_umask_leaves(model: int, tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        llama_cpp.llama_model_save_to_file(model, tmp_path / "model.gguf")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.gguf").stat().st_mode) == 0o666 & ~mask


def test_a_symbolic_link_is_written_through_as_by_c(model: int, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(OLD)
    link.symlink_to(target)
    assert llama_cpp.llama_model_save_to_file(model, link) is True
    assert link.is_symlink()
    assert target.read_bytes()[:4] == b"GGUF"


def test_what_is_no_regular_file_is_not_replaced(model: int, tmp_path: Path) -> None:
    """It might be /dev/null, and we might be root."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert llama_cpp.llama_model_save_to_file(model, pipe) is False
    assert everything_in(tmp_path) == [pipe]
    assert pipe.is_fifo()


@unwritable
def test_saving_where_nothing_can_be_written_is_false_and_leaves_nothing(
    model: int, tmp_path: Path, place: Place
) -> None:
    name = place(tmp_path)
    before = everything_in(tmp_path)
    assert llama_cpp.llama_model_save_to_file(model, name) is False
    assert everything_in(tmp_path) == before


REASONS = {
    a_name_below_a_missing_folder: errno.ENOENT,
    a_name_below_a_file: errno.ENOTDIR,
    a_name_in_proc: errno.ENOENT,
    too_long_a_name: errno.ENAMETOOLONG,
}


@pytest.mark.parametrize("place", REASONS, ids=lambda place: place.__name__)
def test_stderr_says_which_file_was_not_written_and_why(
    model: int, tmp_path: Path, place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    name = place(tmp_path)
    llama_cpp.llama_model_save_to_file(model, name)
    said = capfd.readouterr().err
    assert str(name) in said
    assert os.strerror(REASONS[place]) in said


@pytest.mark.parametrize("place", REASONS, ids=lambda place: place.__name__)
def test_last_error_says_why_a_file_was_not_written(model: int, tmp_path: Path, place: Place) -> None:
    llama_cpp.llama_model_save_to_file(model, place(tmp_path))
    assert os.strerror(REASONS[place]) in llamacffi.last_error()


def test_an_unknown_keyword_is_a_type_error_that_names_it(model: int, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"llama_model_save_to_file.*'overwrite'"):
        llama_cpp.llama_model_save_to_file(model, tmp_path / "model.gguf", overwrite=True)
    assert everything_in(tmp_path) == []


def test_saving_no_model_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(llamacffi.LlamaValueError, match="llama_model_save_to_file"):
        llama_cpp.llama_model_save_to_file(None, tmp_path / "model.gguf")
    assert everything_in(tmp_path) == []


@pytest.fixture
def q4_0(tmp_path: Path) -> Iterator[Any]:
    """A model of a type whose weights every CPU with AVX2, or with NEON's products, has in an order of its own."""
    whole, small = tiny_model.write(tmp_path / "f32.gguf", tiny_model.Shape(width=256)), tmp_path / "q4_0.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0
    assert llama_cpp.llama_model_quantize(bytes(whole), bytes(small), params) == 0
    paths = (ctypes.c_char_p * 1)(bytes(small))
    again = llama_cpp.llama_model_load_from_splits(paths, 1, llama_cpp.llama_model_default_params())
    llama_cpp.llama_model_free(again)  # by whichever function: the memory that such weights are in is prepared once
    loaded = load(small)
    yield loaded
    llama_cpp.llama_model_free(loaded)


def is_reordered(log: str) -> bool:
    """Whether this CPU has such an order, as llama.cpp says when it loads a model."""
    return re.search(r"(CPU_REPACK|AMX) model buffer size", log) is not None


def test_weights_that_the_cpu_has_in_another_order_are_not_saved(
    capfd: pytest.CaptureFixture[str], q4_0: int, tmp_path: Path
) -> None:
    saved = not is_reordered(capfd.readouterr().err)
    name = tmp_path / "saved.gguf"
    assert llama_cpp.llama_model_save_to_file(q4_0, name) is saved
    assert name.exists() is saved
    assert ("use_extra_bufts = False" in llamacffi.last_error()) is not saved


def test_reading_them_in_a_callback_raises(capfd: pytest.CaptureFixture[str], q4_0: int) -> None:
    """With the pointers that a graph has to them."""

    @llama_cpp.ggml_backend_sched_eval_callback
    def read_weights(tensor: int, _ask: bool, _data: object) -> bool:
        for source in ctypes.cast(tensor, ctypes.POINTER(llama_cpp.ggml_tensor)).contents.src:
            if source and source.contents.name.endswith(b".weight"):
                data = ctypes.create_string_buffer(llama_cpp.ggml_nbytes(source))
                llama_cpp.ggml_backend_tensor_get(source, data, 0, len(data))
        return True

    refused = is_reordered(capfd.readouterr().err)
    context = context_of(q4_0, cb_eval=read_weights)
    with pytest.raises(llamacffi.LlamaError, match="cannot be read back") if refused else contextlib.nullcontext():
        decode(context)
    llama_cpp.llama_free(context)


# A disk is full where a file reaches the size that the process may write: the write fails or is short.
SAVE_ON_A_FULL_DISK = """
import resource, signal, sys
from llamacffi import llama_cpp

params = llama_cpp.llama_model_default_params()
params.use_extra_bufts = False  # the file's order, which can be saved
model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), params)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
print(llama_cpp.llama_model_save_to_file(model, sys.argv[2]))
"""


@pytest.fixture(scope="module")
def whole_size(model: int, tmp_path_factory: pytest.TempPathFactory) -> int:
    name = tmp_path_factory.mktemp("whole") / "model.gguf"
    assert llama_cpp.llama_model_save_to_file(model, name)
    size = name.stat().st_size
    name.unlink()
    return size


def save_with_room_for(size: int, model_path: Path, name: Path) -> Ended:
    ended = run_python(SAVE_ON_A_FULL_DISK, model_path, name, str(size))
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.mark.parametrize("room", [0, 0.00005, 0.03, 0.5, 0.9999], ids="room for {} of it".format)
def test_on_a_full_disk_the_old_file_stays_and_nothing_else(
    model_path: Path, whole_size: int, tmp_path: Path, room: float
) -> None:
    """The sizes end the writing before the header, in the vocabulary, in the first tensor and in later ones."""
    name = tmp_path / "model.gguf"
    name.write_bytes(OLD)
    ended = save_with_room_for(int(whole_size * room), model_path, name)
    assert ended.stdout == "False\n"
    assert "disk full" in ended.stderr
    assert name.read_bytes() == OLD
    assert everything_in(tmp_path) == [name]


def test_a_file_that_lacks_its_last_byte_is_not_saved(model_path: Path, whole_size: int, tmp_path: Path) -> None:
    """llama.cpp itself does not notice: the byte is lost when the file is closed."""
    assert save_with_room_for(whole_size - 1, model_path, tmp_path / "model.gguf").stdout == "False\n"
    assert everything_in(tmp_path) == []


def test_with_room_for_the_whole_file_it_is_saved(model_path: Path, whole_size: int, tmp_path: Path) -> None:
    """Shows that the limit alone made the tests above fail to save."""
    assert save_with_room_for(whole_size, model_path, tmp_path / "model.gguf").stdout == "True\n"
    assert everything_in(tmp_path) == [tmp_path / "model.gguf"]


# Loading

LOAD = """
import sys
import llamacffi
from llamacffi import llama_cpp

llama_cpp.llama_backend_init()
print(llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), llama_cpp.llama_model_default_params()))
print(llamacffi.last_error())
"""


def a_missing_file(_: Path, __: Path) -> str:
    return os.strerror(errno.ENOENT)


def an_empty_file(_: Path, path: Path) -> str:
    path.touch()
    return "failed to read magic"


def a_text_file(_: Path, path: Path) -> str:
    path.write_text("Once upon a time there was a llama.\n" * 100)
    return "invalid magic characters: 'Once'"


def a_file_cut_in_its_header(model_path: Path, path: Path) -> str:
    path.write_bytes(model_path.read_bytes()[:20])
    return "failed to read header"


def a_file_cut_in_its_metadata(model_path: Path, path: Path) -> str:
    path.write_bytes(model_path.read_bytes()[:1000])
    return "failed to read key-value pairs"


def a_file_cut_in_its_tensors(model_path: Path, path: Path) -> str:
    whole = model_path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return "data is not within the file bounds"


def a_folder(_: Path, path: Path) -> str:
    path.mkdir()
    return "failed to read magic"


@pytest.mark.parametrize(
    "make",
    [
        a_missing_file,
        an_empty_file,
        a_text_file,
        a_file_cut_in_its_header,
        a_file_cut_in_its_metadata,
        a_file_cut_in_its_tensors,
        a_folder,
    ],
    ids=lambda make: make.__name__,
)
def test_what_is_no_model_loads_as_none_and_stderr_and_last_error_say_why(
    model_path: Path, tmp_path: Path, make: Callable[[Path, Path], str]
) -> None:
    path = tmp_path / "model.gguf"
    reason = make(model_path, path)
    ended = run_python(LOAD, path)
    assert ended.returncode == 0, ended.stderr
    loaded, _, last_error = ended.stdout.partition("\n")
    assert loaded == "None"
    for said in (ended.stderr, last_error):
        assert reason in said
        assert "failed to load model" in said


def test_a_real_model_loads_in_the_same_program(model_path: Path) -> None:
    ended = run_python(LOAD, model_path)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[0]) != 0


CONTEXT = """
import sys
import llamacffi
from llamacffi import llama_cpp

params = llama_cpp.llama_model_default_params()
params.vocab_only = True
model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), params)
wanted = llama_cpp.llama_context_default_params()
wanted.n_batch = wanted.n_ubatch = 0
print(llama_cpp.llama_new_context_with_model(model, wanted))
print(llamacffi.last_error())
"""


def test_a_context_that_cannot_be_made_is_none_and_last_error_says_why(vocabulary: Path) -> None:
    ended = run_python(CONTEXT, vocabulary)
    assert ended.returncode == 0, ended.stderr
    made, _, last_error = ended.stdout.partition("\n")
    assert made == "None"
    assert "n_batch and n_ubatch cannot both be zero" in last_error
    assert last_error.strip() in ended.stderr
