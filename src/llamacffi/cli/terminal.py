"""What commands show: tables and sizes on stdout, progress and remarks on stderr, so that a pipe gets the result alone.

Rich leaves out colours where nobody sees them, and where `NO_COLOR` is set.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 100_000  # a pipe has no edge to break lines at

Advance = Callable[[float], object]


def console(*, stderr: bool = False) -> Console:
    """Return a console for what stdout or stderr is now."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else WIDE)


def remark(text: str) -> None:
    """Say something beside the result."""
    console(stderr=True).print(Text(text, style="dim"))


def show_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def show_facts(title: str, facts: dict[str, str]) -> None:
    """Print names and values below a title."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(f"  {name}", Text(value))
    _show_below(title, table)


def show_table(title: str, columns: dict[str, bool], rows: Iterable[Iterable[str]]) -> None:
    """Print a table below a title.

    Args:
        title: what it is about.
        columns: the name of each column, and whether it holds numbers.
        rows: the cells.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("")
    for place, (name, is_number) in enumerate(columns.items(), 1):
        whole = place < len(columns)  # only the last one is broken where a terminal is too narrow
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row("", *map(Text, row))
    _show_below(title, table)


def _show_below(title: str, table: Table) -> None:
    shown = console()
    with shown.capture() as captured:
        shown.print(Text(title, style="bold"))
        shown.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), end="\n\n")


@contextlib.contextmanager
def progress(what: str, total: float) -> Iterator[Advance]:
    """Show on a terminal, as long as it lasts, how far something is; what it gives takes how much is done."""
    shown = console(stderr=True)
    if not shown.is_terminal:
        yield ignore
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def ignore(_done: float) -> None:
    """Stand for a bar that is not shown."""


def size(n_bytes: float) -> str:
    """Say a number of bytes in llama.cpp's units."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if n_bytes >= 2**power:
            return f"{n_bytes / 2**power:.2f} {unit}"
    return f"{n_bytes:.0f} B"


def count(number: float) -> str:
    """Say a number of parameters as llama.cpp does."""
    for unit, power in (("B", 9), ("M", 6)):
        if number >= 10**power:
            return f"{number / 10**power:.2f} {unit}"
    return f"{number / 1000:.2f} K"


def speed(tokens: int, seconds: float) -> str:
    return f"{tokens:,} tokens, {tokens / max(seconds, 1e-9):,.1f} a second"
