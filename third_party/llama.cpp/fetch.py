"""Bring the llama.cpp source that pin.toml names, once, and print the folder it is in.

Run it (`python third_party/llama.cpp/fetch.py`) or load it by its path, as setup.py and the tests do. It relies on
pinned_download.py for the archive, and unpacks only what a static build of the library reads.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import os
import shutil
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

HERE = Path(__file__).resolve().parent

if TYPE_CHECKING:
    from llamacffi import pinned_download as pinned_download  # update.py takes it from here
else:  # llamacffi itself can't be imported before the extension is built
    _spec = importlib.util.spec_from_file_location(
        "pinned_download", HERE.parents[1] / "src" / "llamacffi" / "pinned_download.py"
    )
    pinned_download = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(pinned_download)

# What CMake reads with LLAMA_BUILD_COMMON=OFF. `*` matches subfolders too. Of vendor/, what mtmd includes, and of the
# other folders CMakeLists.txt, which is read; app/ is configured unless LLAMA_BUILD_APP=OFF.
NEEDED = (
    "CMakeLists.txt",
    "LICENSE",
    "AUTHORS",
    "app/*",
    "cmake/*",
    "ggml/*",
    "include/*",
    "licenses/*",
    "src/*",
    "tools/mtmd/*.cpp",
    "tools/mtmd/*.h",
    "tools/mtmd/CMakeLists.txt",
    "vendor/*CMakeLists.txt",
    "vendor/hash/*",
    "vendor/miniaudio/*",
    "vendor/sheredom/*",
    "vendor/stb/*",
)
MARK = Path("include", "llama.h")
LIST = "unpacked.txt"  # beside what was unpacked: NEEDED as it was then


def pin() -> dict[str, str]:
    """Read the table [source] of pin.toml, or of the file in LLAMACFFI_PIN: a pin that update.py tries."""
    with Path(os.environ.get("LLAMACFFI_PIN") or HERE / "pin.toml").open("rb") as file:
        return dict(tomllib.load(file)["source"])


def source_dir() -> Path:
    """Return the folder of the llama.cpp source, bringing it first if it is not there.

    Raises:
        FileNotFoundError: if LLAMACFFI_LLAMA_CPP_DIR names a folder that is no llama.cpp checkout.
        DownloadError: if the archive could not be had.
    """
    if named := os.environ.get("LLAMACFFI_LLAMA_CPP_DIR"):
        return checkout(Path(named).absolute(), "LLAMACFFI_LLAMA_CPP_DIR")
    return pinned_dir(pin())


def pinned_dir(source: dict[str, str]) -> Path:
    """Return the folder of the source that a pin names, bringing it first if it, or part of it, is not there."""
    target = HERE / f"source-{source['commit']}"
    if not _has_all(target):
        _bring(source, target)
    return target


def _has_all(folder: Path) -> bool:
    """Tell whether what is needed now was unpacked there."""
    try:
        return (folder / LIST).read_text(encoding="utf-8").split("\n") == [*NEEDED]
    except FileNotFoundError:
        return False


def _bring(source: dict[str, str], target: Path) -> None:
    try:
        with pinned_download.made_beside(target) as made:
            unpack(source, source["root"], NEEDED, made)
            (made / LIST).write_text("\n".join(NEEDED), encoding="utf-8")
            if not _has_all(target):  # else another process was faster
                shutil.rmtree(target, ignore_errors=True)
    except pinned_download.DownloadError as error:
        error.args = (f"{error}\nA llama.cpp checkout named in LLAMACFFI_LLAMA_CPP_DIR would do instead.",)
        raise


def checkout(folder: Path, named_in: str) -> Path:
    """Return a folder that is a llama.cpp checkout.

    Raises:
        FileNotFoundError: if it is none.
    """
    if not (folder / MARK).is_file():
        raise FileNotFoundError(
            f"{named_in} should name a llama.cpp checkout, but there is no {folder / MARK}: "
            "set it to a folder that has one, or leave it out to fetch the pinned source."
        )
    return folder


def extract(pattern: str) -> Path:
    """Bring further files of the archive into the cache folder, quickly where they are there already.

    Args:
        pattern: which files, from the top of the archive; `*` matches subfolders too.

    Returns:
        The folder that stands for the top of the archive.
    """
    source = pin()
    name = f"{source['package']}-{source['sha256'][:16]}-{quote(pattern, safe='')}"
    return pinned_download.cached(name, Path.is_dir, lambda made: unpack(source, "", (pattern,), made))


def unpack(source: dict[str, str], root: str, patterns: tuple[str, ...], into: Path) -> None:
    """Unpack what matches below one folder of the archive that a pin names."""
    if not hasattr(tarfile, "data_filter"):
        raise RuntimeError(
            f"Python 3.11.4 or later is needed, whose tarfile unpacks safely, not {sys.version}: update."
        )
    archive = pinned_download.cached_file(source["package"], source["version"], source["sha256"], source=True)
    folder = f"{top(source)}/{root}".rstrip("/") + "/"
    with tarfile.open(archive) as tar:
        tar.extractall(into, _matching(tar, folder, patterns), filter="data")
    if not into.is_dir():
        raise FileNotFoundError(f"{archive} should hold {patterns} below {folder}, but has none: correct the pattern.")


def top(source: dict[str, str]) -> str:
    """Name the folder that all files of the archive are in."""
    return f"{source['package'].replace('-', '_')}-{source['version']}"


def _matching(tar: tarfile.TarFile, folder: str, patterns: tuple[str, ...]) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        name = member.name.removeprefix(folder)
        if name != member.name and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            yield member.replace(name=name)


def main() -> None:
    """Print the folder of the source, and nothing else."""
    try:
        print(source_dir())
    except (pinned_download.DownloadError, FileNotFoundError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
