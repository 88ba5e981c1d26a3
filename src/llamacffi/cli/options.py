"""Options that several commands have, under llama.cpp's own names.

Typer knows no groups of options: `with_options` gives a command the fields of the dataclasses that it takes.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from llamacffi.cli import CommandError

MODEL = typer.Option("-m", "--model", metavar="FILE", help="A GGUF file (the demo's, once downloaded).")
AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Prompt = Annotated[str | None, typer.Option("-p", "--prompt", metavar="TEXT", help="The text (stdin).")]
PromptFile = Annotated[Path | None, typer.Option("-f", "--file", metavar="FILE", help="A file that has the text.")]
ContextSize = Annotated[
    int | None,
    typer.Option("-c", "--ctx-size", metavar="N", min=0, help="Tokens of context (4096); 0: model's."),
]


@dataclasses.dataclass(frozen=True)
class Engine:
    """Which model, and with what it computes."""

    model: Annotated[Path | None, MODEL] = None
    threads: Annotated[
        int | None, typer.Option("-t", "--threads", metavar="N", min=1, help="Threads (all usable CPUs).")
    ] = None
    n_gpu_layers: Annotated[
        int | None,
        typer.Option("-ngl", "--n-gpu-layers", metavar="N", help="Layers on the GPU (all)."),
    ] = None


@dataclasses.dataclass(frozen=True)
class BatchEngine(Engine):
    """The same, where the size of a batch is the user's."""

    batch_size: Annotated[int, typer.Option("-b", "--batch-size", metavar="N", min=1, help="Tokens in one decode.")] = (
        2048
    )


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let each field of a dataclass that a command takes be an option of it."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}

    @functools.wraps(command)
    def called(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in dataclasses.fields(kind)})
        command(**given)

    parameters = [own for given in inspect.signature(command).parameters.values() for own in _spread(given, hints)]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {own.name: own.annotation for own in parameters}
    return called


def _spread(parameter: inspect.Parameter, hints: dict[str, Any]) -> list[inspect.Parameter]:
    kind = hints[parameter.name]
    if not dataclasses.is_dataclass(kind):
        return [parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY)]
    types = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name]
        )
        for field in dataclasses.fields(kind)
    ]


def text_of(prompt: str | None, file: Path | None) -> bytes:
    """Return the text that a command is given: on the command line, in a file, or on stdin."""
    if prompt is not None and file is not None:
        raise CommandError("give the text with --prompt or with --file, not with both")
    if prompt is not None:
        return prompt.encode("utf-8", "surrogateescape")
    if file is not None and str(file) != "-":
        return without_last_newline(file.read_bytes())
    if file is None and sys.stdin.isatty():
        raise CommandError("no text was given: give --prompt, --file, or a pipe to read from")
    return without_last_newline(sys.stdin.buffer.read())


def without_last_newline(text: bytes) -> bytes:
    """Leave out the newline that ends a file, which is no part of its text: llama.cpp's tools do the same."""
    return text.removesuffix(b"\n")
