"""`llamacffi bench`: tokens a second for a prompt and for generating, measured and shown as llama-bench does.

A prompt of N tokens (pp) is computed in batches; generating N tokens (tg) is N decodes of one. The tokens are random, a
first run that does not count warms up, and the memory of the context is empty before each.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

import llamacffi
from llamacffi import device, llama_cpp
from llamacffi.cli import CommandError, engine, gguf_file, terminal
from llamacffi.cli.options import AS_JSON, BatchEngine

# As wide as llama-bench has them.
COLUMNS = {"model": 30, "size": 10, "params": 10, "backend": 10, "threads": 7, "test": 15, "t/s": 20}
LEFT = ("model", "backend")
NARROW = ("test", "t/s")  # those of a terminal that is too narrow for all

Prompt = Annotated[int, typer.Option("-p", "--n-prompt", metavar="N", min=0, help="Tokens of the prompt; 0: none.")]
Gen = Annotated[int, typer.Option("-n", "--n-gen", metavar="N", min=0, help="Tokens to generate; 0: none.")]
Times = Annotated[int, typer.Option("-r", "--repetitions", metavar="N", min=1, help="Runs of each.")]


def bench(
    *, n_prompt: Prompt = 512, n_gen: Gen = 128, repetitions: Times = 5, as_json: AS_JSON = False, given: BatchEngine
) -> None:
    """Measure tokens a second."""
    tests = [(name, number) for name, number in (("pp", n_prompt), ("tg", n_gen)) if number]
    if not tests:
        raise CommandError("nothing is to be measured: give --n-prompt or --n-gen, or both")
    with engine.load(given) as model:
        about = described(model, given)
        if not as_json:
            show_head(about)
        found = []
        for name, number in tests:
            found.append(about | measured(model, given, name, number, repetitions))
            if not as_json:
                show_row(found[-1])
    if as_json:
        terminal.show_json(found)
    else:
        print(f"\nbuild: {llamacffi.build_info().llama_cpp} (llamacffi {llamacffi.__version__})")


def described(model: int, given: BatchEngine) -> dict[str, Any]:
    return {
        "model": description(model),
        "size": llama_cpp.llama_model_size(model),
        "params": llama_cpp.llama_model_n_params(model),
        "backend": backend(given.rpc),
        "threads": given.threads or llamacffi.usable_cpus(),
    }


def description(model: int) -> str:
    buffer = bytearray(128)
    length = llama_cpp.llama_model_desc(model, buffer, len(buffer))
    return gguf_file.text(bytes(buffer[:length]))


def backend(servers: str | None) -> str:
    """Name what computes: the devices beside the CPU, where there are some."""
    used = engine.devices_of(servers) if servers else device.local()
    return ",".join(one.name for one in used if one.type != "cpu") or "CPU"


def measured(model: int, given: BatchEngine, name: str, number: int, times: int) -> dict[str, Any]:
    """Run one test that many times, and return what came out."""
    run = {"pp": prompt, "tg": generation}[name]
    with engine.context_of(model, given, number, n_batch=min(given.batch_size, number)) as context:
        engine.check_writes(context)
        tokens = random_tokens(model, number)
        seconds = runs(context, run, tokens, times, f"{name}{number}")
    speeds = [number / second for second in seconds]
    spread = statistics.stdev(speeds) if times > 1 else 0.0
    return {"test": f"{name}{number}", "mean": statistics.fmean(speeds), "stdev": spread, "seconds": seconds}


def random_tokens(model: int, number: int) -> list[int]:
    """Take tokens by chance; a text begins as the model wants it."""
    vocab = llama_cpp.llama_model_get_vocab(model)
    known = range(llama_cpp.llama_vocab_n_tokens(vocab))
    begin = [llama_cpp.llama_vocab_bos(vocab)] if llama_cpp.llama_vocab_get_add_bos(vocab) else []
    return [*begin, *random.choices(known, k=number)][:number]


def runs(context: int, run: Callable[[int, list[int]], None], tokens: list[int], times: int, name: str) -> list[float]:
    """Return the seconds of each run but the first, which warms up."""
    seconds = []
    with terminal.progress(name, times + 1) as advance:
        for number in range(times + 1):
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), False)
            started = time.perf_counter()
            run(context, tokens if number else tokens[:1])
            llama_cpp.llama_synchronize(context)
            seconds.append(time.perf_counter() - started)
            advance(number + 1)
    return seconds[1:]


def prompt(context: int, tokens: list[int]) -> None:
    step = llama_cpp.llama_n_batch(context)
    for first in range(0, len(tokens), step):
        engine.decode(context, tokens[first : first + step])


def generation(context: int, tokens: list[int]) -> None:
    for token in tokens:
        engine.decode(context, [token])
        llama_cpp.llama_synchronize(context)


# ---------------------------------------------------------------- the table


def show_head(about: dict[str, Any]) -> None:
    names = columns()
    if "model" not in names:
        print(", ".join([*map(str, cells(about)), f"{about['threads']} threads"]) + "\n")
    print(line({name: name for name in names}))
    print("|" + "|".join(rule(name) for name in names) + "|", flush=True)


def columns() -> list[str]:
    """Return the columns that the terminal has room for."""
    needed = sum(COLUMNS.values()) + 3 * len(COLUMNS) + 1
    return [*COLUMNS] if terminal.console().width >= needed else [*NARROW]


def cells(about: dict[str, Any]) -> list[str]:
    return [about["model"], terminal.size(about["size"]), terminal.count(about["params"]), about["backend"]]


def rule(name: str) -> str:
    dashes = "-" * COLUMNS[name]
    return f" {dashes} " if name in LEFT else f" {dashes[1:]}: "


def show_row(found: dict[str, Any]) -> None:
    texts = {
        **dict(zip(COLUMNS, cells(found), strict=False)),
        "threads": str(found["threads"]),
        "test": found["test"],
        "t/s": f"{found['mean']:.2f} ± {found['stdev']:.2f}",
    }
    print(line({name: texts[name] for name in columns()}), flush=True)


def line(texts: dict[str, str]) -> str:
    aligned = [text.ljust(COLUMNS[name]) if name in LEFT else text.rjust(COLUMNS[name]) for name, text in texts.items()]
    return f"| {' | '.join(aligned)} |"
