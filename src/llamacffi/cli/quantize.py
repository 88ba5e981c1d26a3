"""`llamacffi quantize`: a model with smaller weights.

The engine writes beside the output's name and renames what is whole (`csrc/engine/replaced_file.h`), so that no partial
file is ever left. How far it is stands in its log alone.
"""

from __future__ import annotations

import ctypes
import difflib
import logging
import os
import re
import time
from pathlib import Path
from typing import Annotated

import typer

import llamacffi
from llamacffi import llama_cpp
from llamacffi.cli import CommandError, engine, gguf_file, terminal

PREFIX = re.compile(r"LLAMA_FTYPE_(?:MOSTLY|ALL)_")
TYPES: dict[str, int] = {
    PREFIX.sub("", name): getattr(llama_cpp, name) for name in vars(llama_cpp) if PREFIX.match(name)
}
COUNTED = re.compile(r"\[ *(\d+)/ *\d+\]")

Source = Annotated[Path, typer.Argument(metavar="IN", help="A GGUF file.", show_default=False)]
Target = Annotated[Path, typer.Argument(metavar="OUT", help="What is written.", show_default=False)]
Type = Annotated[
    str,
    typer.Argument(
        metavar="TYPE", help="Such as Q4_K_M, Q8_0, F16.", show_default=False, autocompletion=lambda: sorted(TYPES)
    ),
]
Threads = Annotated[int | None, typer.Option("-t", "--threads", metavar="N", min=1, help="Threads (all usable CPUs).")]
Requantize = Annotated[bool, typer.Option("--allow-requantize", help="Take what is quantized already: worse.")]
Leave = Annotated[bool, typer.Option("--leave-output-tensor", help="Leave output.weight as it is.")]
Pure = Annotated[bool, typer.Option("--pure", help="One type for all tensors, no mixture.")]
Force = Annotated[bool, typer.Option("--force", help="Replace OUT where it is there.")]


def quantize(
    source: Source,
    target: Target,
    type_name: Type,
    threads: Threads = None,
    allow_requantize: Requantize = False,
    leave_output_tensor: Leave = False,
    pure: Pure = False,
    force: Force = False,
) -> None:
    """Write a model with smaller weights."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = type_of(type_name)
    params.nthread = threads or llamacffi.usable_cpus()
    params.allow_requantize, params.pure = allow_requantize, pure
    params.quantize_output_tensor = not leave_output_tensor
    check(source, target, force=force)
    before = gguf_file.read(source)
    started = time.perf_counter()
    convert(source, target, params, len(before.tensors))
    show(before, gguf_file.read(target), time.perf_counter() - started)


def type_of(name: str) -> int:
    try:
        return TYPES[name.upper()]
    except KeyError:
        near = difflib.get_close_matches(name.upper(), TYPES) or sorted(TYPES)
        raise CommandError(f"there is no type {name}: perhaps {', '.join(near)}") from None


def check(source: Path, target: Path, *, force: bool) -> None:
    if not target.exists():
        return
    if target.samefile(source):
        raise CommandError(f"{target} is the file that is read: give another name")
    if not force:
        raise CommandError(f"{target} is there already: give another name, or --force to replace it")


def convert(source: Path, target: Path, params: llama_cpp.llama_model_quantize_params, tensors: int) -> None:
    """Let llama.cpp do it, and show how far it is."""
    with terminal.progress("quantizing", tensors) as advance:
        logger = logging.getLogger(f"{engine.LOGGER}.quantize")
        logger.propagate = False
        logger.setLevel(logging.INFO)
        logger.addHandler(Counted(advance))
        llamacffi.log_to(logger)
        status = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params))
    if status != 0:
        raise CommandError(f"{source} could not be quantized: {hint(engine.reason())}")


def hint(reason: str) -> str:
    return f"{reason} (--allow-requantize takes it all the same)" if "requantizing" in reason else reason


class Counted(logging.Handler):
    """Reads the number of the tensor that llama.cpp logs."""

    def __init__(self, advance: terminal.Advance) -> None:
        super().__init__()
        self._advance = advance

    def emit(self, record: logging.LogRecord) -> None:
        if found := COUNTED.match(record.getMessage()):
            self._advance(int(found[1]))


def show(before: gguf_file.File, after: gguf_file.File, seconds: float) -> None:
    """Tell the sizes of the weights."""
    rows = [("before", *sizes(before)), ("after", *sizes(after))]
    terminal.show_table("Weights", {"": False, "size": True, "bits a weight": True}, rows)
    terminal.remark(f"{seconds:.1f} s")


def sizes(file: gguf_file.File) -> tuple[str, str]:
    size = sum(tensor.size for tensor in file.tensors)
    parameters = sum(tensor.parameters for tensor in file.tensors)
    return terminal.size(size), f"{8 * size / max(parameters, 1):.2f}"
