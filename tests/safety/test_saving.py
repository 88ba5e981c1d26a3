"""A file that is mapped is not written over: the system would end the process at the next use of what was cut off.

What C writes takes the place of what stood there when it is whole; where nothing can take its place, C writes into it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llamacffi
from llamacffi import LlamaValueError
from llamacffi import llama_cpp as llama
from support import gguf_files
from support.cells import alone, refused, returns
from support.objects import context_of, decode, ints, load, load_decode_and_free, repeating

Write = Callable[[Any, bytes], Any]
C = ctypes.CDLL(None)
OLD = b"what stood there before"

SAVES: dict[str, Write] = {
    "llama_state_save_file": lambda ctx, path: llama.llama_state_save_file(ctx, path, ints(1), 1),
    "llama_save_session_file": lambda ctx, path: llama.llama_save_session_file(ctx, path, ints(1), 1),
    "llama_state_seq_save_file": lambda ctx, path: llama.llama_state_seq_save_file(ctx, path, 0, ints(1), 1),
    "gguf_write_to_file": lambda ctx, path: llama.gguf_write_to_file(llama.gguf_init_empty(), path, True),
}
WRITES: dict[str, Write] = {
    **SAVES,
    "ggml_fopen": lambda ctx, path: C.fclose(ctypes.c_void_p(llama.ggml_fopen(path, b"wb"))),
}
saves = pytest.mark.parametrize("name", SAVES)
writes = pytest.mark.parametrize("name", WRITES)
SAYS = r"a model that is in use has its memory in the file .+/own\.gguf: write to another one, or free the model first"


def copied(folder: Path, name: str = "own.gguf") -> Path:
    return Path(shutil.copy(gguf_files.shared(), folder / name))


def old(folder: Path, mode: int = 0o600) -> Path:
    path = folder / "old"
    path.write_bytes(OLD)
    path.chmod(mode)
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def whole(name: str, folder: Path, ctx: Any) -> bytes:
    """Return what the function writes where nothing stands."""
    path = folder / "new"
    assert SAVES[name](ctx, os.fsencode(path))
    return path.read_bytes()


@writes
@refused(LlamaValueError, lambda name: rf"{name}\(\): {SAYS}")
def test_a_mapped_file_is_not_written_over(name: str, folder: Path) -> None:
    path = copied(folder)
    ctx = context_of(load(path))
    try:
        WRITES[name](ctx, os.fsencode(path))
    finally:
        assert decode(ctx) == 0


@writes
@returns(True)
def test_a_file_that_is_no_longer_mapped_is_written_over(name: str, folder: Path, ctx: Any) -> bool:
    path = copied(folder)
    llama.llama_model_free(load(path))
    before = path.read_bytes()
    WRITES[name](ctx, os.fsencode(path))
    return path.read_bytes() != before


@returns(0)
def test_a_model_that_was_read_without_mapping_keeps_nothing_of_its_file(folder: Path) -> int:
    path = copied(folder)
    ctx = context_of(load(path, load_mode=llama.LLAMA_LOAD_MODE_NONE))
    assert llama.llama_state_save_file(ctx, os.fsencode(path), ints(1), 1)
    return decode(ctx)


@returns((0, True))
def test_a_mapped_file_is_replaced_by_saving_and_stays_for_its_model(folder: Path) -> object:
    """What is saved has another name until it is whole, so the file that is mapped is not cut off."""
    path = copied(folder)
    model = load(path)
    saved = llama.llama_model_save_to_file(model, os.fsencode(path))
    return decode(context_of(model)), saved


@alone
@writes
@returns((True, True))
def test_a_file_that_a_thread_is_about_to_map_is_not_cut_off(name: str, folder: Path, ctx: Any) -> object:
    """It is open there already, and its size known, but it is not mapped: nothing can tell."""
    path, found, loads = folder / "own.gguf", set(), threading.Semaphore(0)

    def load_one() -> None:
        found.add(load_decode_and_free(path))
        loads.release()

    with repeating(load_one, 2):
        for _ in range(100):
            copied(folder, "another").replace(path)
            loads.acquire()
            with contextlib.suppress(LlamaValueError):  # it is mapped just now
                WRITES[name](ctx, os.fsencode(path))
    return 0 in found, found <= {0, None}


@saves
@returns((0, True, ["old"]))
def test_what_does_not_fit_on_the_disk_leaves_the_old_file(name: str, folder: Path, ctx: Any) -> object:
    """The last byte is lost when C closes the file, which it does not notice."""
    size, path = len(whole(name, folder, ctx)), old(folder)
    (folder / "new").unlink()
    saved = 0
    for room in (0, 1, size // 2, size - 1):
        with room_for(room):
            saved += SAVES[name](ctx, os.fsencode(path))
    return saved, path.read_bytes() == OLD, names_in(folder)


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """A disk is full where a file reaches the size that the process may write."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@saves
@returns((True, ["new"]))
def test_with_room_for_all_of_it_a_file_is_written(name: str, folder: Path, ctx: Any) -> object:
    """Shows that the limit alone made the test above fail to save."""
    first = whole(name, folder, ctx)
    with room_for(len(first)):
        return whole(name, folder, ctx) == first, names_in(folder)


@saves
@returns((0, []))
def test_below_a_folder_that_is_not_there_nothing_is_written(name: str, folder: Path, ctx: Any) -> object:
    return int(SAVES[name](ctx, os.fsencode(folder / "missing" / "state"))), names_in(folder)


@saves
@returns(True)
def test_what_was_not_written_and_why_is_the_last_error(name: str, folder: Path, ctx: Any) -> bool:
    path = folder / "missing" / "state"
    SAVES[name](ctx, os.fsencode(path))
    return bool(llamacffi.last_error() == f"{path} was not written: No such file or directory")


@writes
@returns((0o640, 0o604))
def test_a_file_has_the_mode_of_the_old_one_or_what_the_umask_leaves(name: str, folder: Path, ctx: Any) -> object:
    before = os.umask(0o062)
    try:
        for path in (old(folder, 0o640), folder / "new"):
            WRITES[name](ctx, os.fsencode(path))
    finally:
        os.umask(before)
    return stat.S_IMODE((folder / "old").stat().st_mode), stat.S_IMODE((folder / "new").stat().st_mode)


@alone
@saves
@returns((0, True))
def test_a_file_that_may_not_be_written_is_not_replaced(name: str, folder: Path, ctx: Any) -> object:
    """Although its folder may be written to."""
    path = old(folder, 0o444)
    for above in (folder, folder.parent):
        above.chmod(0o777)
    if os.getuid() == 0:  # who may write everything
        os.setuid(65534)
    return int(SAVES[name](ctx, os.fsencode(path))), path.read_bytes() == OLD


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
@saves
@returns((True, True))
def test_a_link_stays_and_its_file_is_written(name: str, there: bool, folder: Path, ctx: Any) -> object:
    link, target = folder / "link", folder / "target"
    link.symlink_to("target")
    if there:
        target.write_bytes(OLD)
    SAVES[name](ctx, os.fsencode(link))
    return link.is_symlink(), target.read_bytes() == whole(name, folder, ctx)


@saves
@returns((True, True))
def test_a_device_is_written_to(name: str, folder: Path, ctx: Any) -> object:
    """Not replaced by a file, which root could do."""
    return bool(SAVES[name](ctx, b"/dev/null")), Path("/dev/null").is_char_device()


@saves
@returns(True)
def test_a_file_that_has_no_name_any_more_is_written_to(name: str, folder: Path, ctx: Any) -> bool:
    with tempfile.TemporaryFile(dir=folder) as file:
        SAVES[name](ctx, b"/proc/self/fd/%d" % file.fileno())
        return file.read() == whole(name, folder, ctx)


@returns((True, True))
def test_a_pipe_is_written_to(folder: Path) -> object:
    """By what needs no position in it: a state does."""
    pipe, gguf = folder / "pipe", llama.gguf_init_empty()
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    written = llama.gguf_write_to_file(gguf, os.fsencode(pipe), True)
    reader.join()
    return written, read[0][:4] == b"GGUF"


@returns((OLD, b""))
def test_who_has_opened_a_file_keeps_it_when_it_is_opened_anew(folder: Path) -> object:
    """Its contents are gone from its name at once, as in C, but not from whoever has it mapped."""
    path = old(folder)
    with path.open("rb") as before:
        C.fclose(ctypes.c_void_p(llama.ggml_fopen(os.fsencode(path), b"w+")))
        return before.read(), path.read_bytes()
