"""The inputs that reach code which no other one reaches: one archive, which the tests replay."""

from __future__ import annotations

import functools
import hashlib
import io
import lzma
import tarfile
from collections.abc import Iterable
from pathlib import Path

ARCHIVE = Path(__file__).with_name("corpus.tar.xz")
MOST = 300_000  # bytes of the archive

Inputs = dict[str, list[bytes]]  # by target


@functools.cache
def read(archive: Path = ARCHIVE) -> Inputs:
    """Return the inputs of each target."""
    found: Inputs = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            contents = tar.extractfile(member)
            assert contents
            found.setdefault(member.name.split("/")[0], []).append(contents.read())
    return found


def write(inputs: Inputs, archive: Path = ARCHIVE) -> int:
    """Write the archive, the same for the same inputs, and return its size."""
    packed = lzma.compress(_tar(inputs), preset=9 | lzma.PRESET_EXTREME)
    archive.write_bytes(packed)
    return len(packed)


def _tar(inputs: Inputs) -> bytes:
    # Like beside like, so that they are packed well.
    named = [(f"{target}/{_name(one)}", one) for target, ones in inputs.items() for one in sorted(ones)]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, contents in named:
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
    return packed.getvalue()


def _name(contents: bytes) -> str:
    return hashlib.sha1(contents).hexdigest()[:12]


def unpack(target: str, folder: Path) -> None:
    """Write a target's inputs as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for contents in read().get(target, ()) if ARCHIVE.exists() else ():
        (folder / _name(contents)).write_bytes(contents)


def read_folder(paths: Iterable[Path]) -> list[bytes]:
    return [path.read_bytes() for path in sorted(paths)]
