"""Add-ons that hold this package's own extension: what a real one does before it looks for its driver."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import llamacffi

OWN = Path(str(sys.modules["llamacffi._llama"].__file__))


def add_on(folder: Path, name: str, version: str = llamacffi.__version__, extension: Path | None = OWN) -> Path:
    """Install an add-on in a folder; return that of its package."""
    package = folder / f"llamacffi_{name}"
    package.mkdir()
    (package / "__init__.py").write_text(f'__version__ = "{version}"\n')
    if extension:
        shutil.copyfile(extension, package / OWN.name)  # of a linked one the process would have one copy
    return package
