"""Print how many bytes a distribution has installed: its files by its own record, but no bytecode.

An editable install records nothing of the package, whose folder is counted then. What it depends on is not counted.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path


def main() -> None:
    distribution, package = sys.argv[1:]
    files = list(recorded(distribution))
    folder = folder_of(package)
    if not any(folder in file.parents for file in files):
        files = [path for path in folder.rglob("*") if path.is_file()]
    print(sum(file.stat().st_size for file in files if file.suffix != ".pyc"))


def recorded(distribution: str) -> Iterator[Path]:
    """Give each file that is there, once."""
    paths = {Path(str(file.locate())).resolve() for file in metadata.files(distribution) or ()}
    return (path for path in paths if path.is_file())


def folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"no folder of a package {package} is found")
    return Path(spec.origin).resolve().parent


if __name__ == "__main__":
    main()
