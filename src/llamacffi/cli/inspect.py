"""`llamacffi inspect`: what a GGUF file holds, and how much memory a context of it needs, without loading weights.

The memory is llama.cpp's own account: it lays out a context of the model as it would for use, and allocates nothing.
Its log alone tells what comes out, in MiB with two digits.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Annotated, Any

import typer

import llamacffi
from llamacffi import llama_cpp
from llamacffi.cli import CommandError, engine, gguf_file, terminal
from llamacffi.cli.options import AS_JSON, ContextSize, Engine

FEW = 6  # items of an array that a table shows
LONG = 60  # characters of a text
MIB = 2**20

# What llama.cpp logs of the memory for a context; what a model is recurrent in counts as the cache.
ACCOUNT = {
    "cache": re.compile(r"size = +([\d.]+) MiB \( *\d+ cells"),
    "compute": re.compile(r"compute buffer size = +([\d.]+) MiB"),
    "output": re.compile(r"output buffer size = +([\d.]+) MiB"),
}

Tensors = Annotated[bool, typer.Option("--tensors", help="Show each tensor.")]
File = Annotated[Path, typer.Argument(metavar="MODEL", help="A GGUF file.", show_default=False)]


def inspect(model: File, tensors: Tensors = False, ctx_size: ContextSize = None, as_json: AS_JSON = False) -> None:
    """Show what a GGUF file holds, and the memory it needs."""
    file = gguf_file.read(model)
    told = {**summary(model, file), "types": types(file), "memory": memory(model, file, ctx_size)}
    if as_json:
        everything = [tensor._asdict() for tensor in file.tensors]
        terminal.show_json({**told, "metadata": file.metadata, "tensors": everything})
        return
    show(told, file)
    if tensors:
        show_tensors(file)


def summary(path: Path, file: gguf_file.File) -> dict[str, Any]:
    known = file.metadata
    architecture = text(known, "general.architecture")
    return {
        "file": str(path),
        "size": path.stat().st_size,
        "name": text(known, "general.name"),
        "architecture": architecture,
        "parameters": sum(tensor.parameters for tensor in file.tensors),
        "quantization": quantization(number(known, "general.file_type")),
        "context": number(known, f"{architecture}.context_length"),
        "embedding": number(known, f"{architecture}.embedding_length"),
        "layers": number(known, f"{architecture}.block_count"),
        "vocabulary": vocabulary(known),
        "tokenizer": text(known, "tokenizer.ggml.model"),
        "chat_template": template_kind(text(known, "tokenizer.chat_template")),
        "part": part(number(known, "split.no"), number(known, "split.count")),
    }


def text(known: dict[str, Any], key: str) -> str | None:
    """Return a value that is a text; a file may have anything there."""
    value = known.get(key)
    return value if isinstance(value, str) else None


def number(known: dict[str, Any], key: str) -> int | None:
    value = known.get(key)
    return value if type(value) is int else None


def vocabulary(known: dict[str, Any]) -> int | None:
    tokens = known.get("tokenizer.ggml.tokens")
    return len(tokens) if isinstance(tokens, list) else None


def quantization(file_type: int | None) -> str | None:
    return None if file_type is None else gguf_file.text(llama_cpp.llama_ftype_name(file_type))


def template_kind(template: str | None) -> str | None:
    """Say whether `llamacffi chat` can use the template: llama.cpp knows some by what is in them."""
    if template is None:
        return None
    message = llama_cpp.llama_chat_message(role=b"user", content=b"")
    buffer = bytearray(1)
    known = llama_cpp.llama_chat_apply_template(template, message, 1, True, buffer, 0) >= 0
    return "known" if known else "unknown"


def part(place: int | None, parts: int | None) -> str | None:
    return f"{place + 1} of {parts}" if place is not None and (parts or 0) > 1 else None


def types(file: gguf_file.File) -> dict[str, dict[str, int]]:
    """Return the number of tensors, the parameters and the bytes of each type, the largest first."""
    totals: dict[str, dict[str, int]] = {}
    for tensor in sorted(file.tensors, key=lambda tensor: tensor.type):
        total = totals.setdefault(tensor.type, {"tensors": 0, "parameters": 0, "size": 0})
        total["tensors"] += 1
        total["parameters"] += tensor.parameters
        total["size"] += tensor.size
    return dict(sorted(totals.items(), key=lambda item: -item[1]["size"]))


# ---------------------------------------------------------------- memory


def memory(path: Path, file: gguf_file.File, ctx_size: int | None) -> dict[str, Any] | None:
    """Return the bytes that a context of this size needs; None for a file that is no whole model."""
    if not file.tensors or f"{text(file.metadata, 'general.architecture')}.block_count" not in file.metadata:
        return None
    fields = {"no_alloc": True, "load_mode": llama_cpp.LLAMA_LOAD_MODE_NONE}
    try:
        with engine.loaded(path, **fields) as model:
            return account(model, engine.context_size(model, ctx_size))
    except (CommandError, llamacffi.LlamaError, MemoryError):
        return None


def account(model: int, size: int) -> dict[str, Any]:
    """Let llama.cpp lay out a context, and add up what it logs of it."""
    lines = Lines()
    logger = logging.getLogger(f"{engine.LOGGER}.account")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(lines)
    llamacffi.log_to(logger)
    try:
        with engine.context_of(model, Engine(), size) as context:
            told = {"context": llama_cpp.llama_n_ctx(context), "weights": llama_cpp.llama_model_size(model)}
    finally:
        engine.quieten()
    logged = "\n".join(lines.texts)
    told |= {name: round(MIB * sum(map(float, sign.findall(logged)))) for name, sign in ACCOUNT.items()}
    return {**told, "total": sum(told.values()) - told["context"]}


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


# ---------------------------------------------------------------- tables


def show(told: dict[str, Any], file: gguf_file.File) -> None:
    terminal.show_facts("Model", {name.replace("_", " "): value for name, value in facts(told).items() if value})
    columns = {"type": False, "tensors": True, "parameters": True, "size": True}
    terminal.show_table("Sizes by type", columns, map(type_row, told["types"].items()))
    if told["memory"]:
        show_memory(told["memory"])
    metadata = [(key, short(value)) for key, value in file.metadata.items()]
    terminal.show_table("Metadata", {"key": False, "value": False}, metadata)


def facts(told: dict[str, Any]) -> dict[str, str | None]:
    numbers = {name: f"{told[name]:,}" for name in ("context", "embedding", "layers", "vocabulary") if told[name]}
    texts = {name: told[name] for name in ("file", "name", "architecture", "quantization", "tokenizer", "part")}
    about = {"size": terminal.size(told["size"]), "parameters": terminal.count(told["parameters"])}
    template = {None: "none", "known": "known", "unknown": "unknown to llama.cpp without Jinja"}[told["chat_template"]]
    found = {**texts, **about, **numbers, "chat_template": template}
    return {name: found[name] for name in told if name in found}


def type_row(item: tuple[str, dict[str, int]]) -> list[str]:
    name, total = item
    return [name, f"{total['tensors']:,}", terminal.count(total["parameters"]), terminal.size(total["size"])]


def show_memory(needed: dict[str, int]) -> None:
    title = f"Memory for {needed['context']:,} tokens of context"
    terminal.show_facts(title, {name: terminal.size(needed[name]) for name in needed if name != "context"})


def show_tensors(file: gguf_file.File) -> None:
    columns = {"tensor": False, "type": False, "shape": True, "size": True}
    rows = [(name, kind, " × ".join(map(str, shape)), terminal.size(size)) for name, kind, shape, size in file.tensors]
    terminal.show_table("Tensors", columns, rows)


def short(value: Any) -> str:
    """Say a value in one line: what is long is cut."""
    if isinstance(value, list):
        more = ", …" if len(value) > FEW else ""
        return f"[{len(value):,}] {', '.join(short(item) for item in value[:FEW])}{more}"
    if isinstance(value, float):
        return f"{value:.7g}"
    line = " ".join(str(value).split())
    return line if len(line) <= LONG else f"{line[:LONG]}…"
