"""Programs in processes of their own: run to their end, however that is, with what they printed kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

Ended = subprocess.CompletedProcess[str]


def run(*command: str | Path, **options: Any) -> Ended:
    """Run a command."""
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)


def run_python(code: str, *arguments: str | Path, **options: Any) -> Ended:
    """Run Python code, which finds `arguments` in `sys.argv[1:]`."""
    return run(sys.executable, "-c", code, *arguments, **options)


def output_of(*command: str | Path, **options: Any) -> str:
    """Run a command that must end well; return what it printed."""
    ended = run(*command, **options)
    assert ended.returncode == 0, f"ended with {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def output_of_python(code: str, *arguments: str | Path, **options: Any) -> str:
    return output_of(sys.executable, "-c", code, *arguments, **options)


def tool(name: str) -> str:
    """Find a build tool, also where it stands beside a Python whose folder is not on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which(name, path=path)
    assert found, f"{name} is needed: pip install {name}"
    return found


def emulator(machine: str) -> str:
    """Find qemu-user for a machine; a package of that name adds `-static`."""
    name = f"qemu-{machine}"
    found = shutil.which(name) or shutil.which(f"{name}-static")
    assert found, f"{name} is needed: install qemu-user"
    return found
