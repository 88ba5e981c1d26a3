"""Bring one file from the package index, or none: what arrives has the pinned sha256, or is refused.

pip does the network, so that its configuration (mirrors, proxies, certificates) holds here too, and no address
stands in this project. Relies on the standard library and pip alone, and imports nothing of llamacffi: the build
loads this file by its path, when there is no extension yet.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# What to do, by a sign in what pip said; the empty sign fits everything else.
ADVICE = {
    "No module named pip": f"Install pip with `{sys.executable} -m ensurepip`, then try again.",
    "DO NOT MATCH THE HASHES": "The index has another file under this version, which was refused: use another index.",
    "": "Check the network and the index that pip uses (`pip config list`), then try again.",
}


class DownloadError(RuntimeError):
    """The pinned file could not be brought; carries what pip said and what to do."""


def cache_dir() -> Path:
    """Name the user's cache folder for llamacffi, which may not exist yet."""
    if own := os.environ.get("LLAMACFFI_CACHE_DIR"):
        return Path(own).absolute()
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "llamacffi"


def writable_cache_dir() -> Path:
    """Return the cache folder, made if need be, or where that can't be written, one that lasts as long as we do."""
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return _folder_for_this_process()


@functools.cache
def _folder_for_this_process() -> Path:
    folder = tempfile.mkdtemp(prefix="llamacffi-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def cached(name: str, whole: Callable[[Path], bool], make: Callable[[Path], object]) -> Path:
    """Return the file or folder of this name in the cache, made first where it is missing or damaged.

    Args:
        name: of the file or folder; it should say what is in it, best by hash.
        whole: tells whether what lies there is good.
        make: makes it at the path it is given.
    """
    for place in (cache_dir() / name, writable_cache_dir() / name):
        if _is_whole(place, whole):
            return place
    with made_beside(place) as made:
        make(made)
    if not _is_whole(place, whole):
        raise DownloadError(f"{place} should have been replaced, but another program holds it: delete it, try again.")
    return place


def _is_whole(place: Path, whole: Callable[[Path], bool]) -> bool:
    """Ask `whole`; what can't be looked at is as good as missing."""
    try:
        return whole(place)
    except OSError:
        return False


@contextmanager
def made_beside(target: Path) -> Iterator[Path]:
    """Give a path to make `target` at: it becomes `target` in one step at the end, or vanishes if the body fails.

    Whoever comes second with a folder keeps the first one's: both were made from the same pinned file.
    """
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as scratch:
        made = Path(scratch) / target.name
        yield made
        try:
            made.replace(target)
        except OSError:  # a folder is there already or, on Windows, somebody has the file open
            if not target.exists():
                raise


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_file(package: str, version: str, sha256: str, *, source: bool = False) -> Path:
    """Return the pinned file of a package out of the cache, downloading it where it is missing or damaged.

    Args:
        package: the name on the package index.
        version: the exact version.
        sha256: what the file must hash to, in hexadecimal digits.
        source: take the source archive instead of the wheel.

    Raises:
        DownloadError: if no such file could be had.
    """
    return cached(
        f"{package}-{version}-{sha256}",
        lambda place: sha256_of(place) == sha256,
        lambda made: download(package, version, sha256, made.parent, source=source).replace(made),
    )


def checked(file: Path, sha256: str) -> Path:
    """Return the file if it has the pinned hash.

    Raises:
        DownloadError: if it has another one.
    """
    if (found := sha256_of(file)) != sha256:
        raise DownloadError(f"{file.name} should have the sha256 {sha256}, but has {found}: use another index.")
    return file


def download(package: str, version: str, sha256: str, into: Path, *, source: bool = False) -> Path:
    """Bring the pinned file of a package into a folder, past the cache; see `cached_file`."""
    requirements = into / "requirements.txt"
    requirements.write_text(f"{package}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    # The format is asked of this package only: the build requirements of a source archive may come as wheels.
    form = f"--no-binary={package}" if source else f"--only-binary={package}"
    arrived = into / "arrived"
    run_pip(f"download --no-deps --require-hashes {form}".split(), "--dest", arrived, "--requirement", requirements)
    (file,) = arrived.iterdir()
    return checked(file, sha256)


def run_pip(arguments: list[str], *paths: str | Path) -> None:
    """Run pip without stdin; its progress goes to the terminal if there is one, for stdout is the caller's."""
    # -I: in an isolated build PYTHONPATH hides pip, and nothing in the working directory shall pose as pip.
    command = [sys.executable, "-I", "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments, *paths]
    # Left in, what tells our own build which backend to run would tell the build that this pip starts.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("_PYPROJECT_HOOKS_", "PEP517_"))}
    out = sys.__stderr__ if sys.__stderr__ and sys.__stderr__.isatty() else subprocess.DEVNULL
    ended = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, check=False)
    if ended.returncode:
        said = ended.stderr.decode(errors="replace")
        advice = next(advice for sign, advice in ADVICE.items() if sign in said)
        raise DownloadError(f"pip should have brought the file, but failed. {advice} pip said:\n{said}")
