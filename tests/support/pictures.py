"""Files with an image or a sound, written byte by byte, so that what is in them is known; and upstream's own."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from support.checkout import load_fetch

Pixels = np.ndarray[Any, np.dtype[np.uint8]]  # rows, columns, red and green and blue


def pixels(width: int = 40, height: int = 30, seed: int = 1) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(given: Pixels) -> bytes:
    height, width, _ = given.shape
    rows = b"".join(b"\0" + row.tobytes() for row in given)
    return png_of(width, height, zlib.compress(rows))


def png_of(width: int, height: int, data: bytes) -> bytes:
    """Write a PNG file whose header says what it says, whatever the compressed data holds."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", data), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bmp(given: Pixels) -> bytes:
    """Write 24 bits a pixel, blue first, the last row first, rows filled up to four bytes."""
    height, width, _ = given.shape
    rows = [row[:, ::-1].tobytes() for row in given[::-1]]
    body = b"".join(row + b"\0" * (-len(row) % 4) for row in rows)
    return (
        struct.pack("<2sIIIIiiHHIIiiII", b"BM", 54 + len(body), 0, 54, 40, width, height, 1, 24, 0, len(body), *[0] * 4)
        + body
    )


def wav(samples: int = 8000, rate: int = 16000, seed: int = 1) -> bytes:
    """Write noise in 16 bits, one channel."""
    noise = np.random.default_rng(seed).integers(-8000, 8000, samples, dtype=np.int16)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(noise.tobytes())
    return file.getvalue()


def of_upstream(name: str) -> bytes:
    """Return one of the files in the pinned archive's tools/mtmd: `test-1.jpeg`, `test-2.mp3`."""
    fetch = load_fetch()
    path = Path(fetch.pin()["root"], "tools", "mtmd", name)
    return (Path(fetch.extract(path.as_posix())) / path).read_bytes()
