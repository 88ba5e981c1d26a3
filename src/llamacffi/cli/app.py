"""The commands that need Typer and Rich, which read the arguments and write the help."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from llamacffi.cli import engine, main, options
from llamacffi.cli.bench import bench
from llamacffi.cli.chat import chat
from llamacffi.cli.detokenize import detokenize
from llamacffi.cli.embed import embed
from llamacffi.cli.generate import generate
from llamacffi.cli.info import info
from llamacffi.cli.inspect import inspect
from llamacffi.cli.perplexity import perplexity
from llamacffi.cli.plan import plan
from llamacffi.cli.quantize import quantize
from llamacffi.cli.rpc_server import rpc_server
from llamacffi.cli.tokenize import tokenize

AS_IT_IS = {"allow_extra_args": True, "ignore_unknown_options": True}
HELP = {"help_option_names": ["-h", "--help"]}
COMMANDS: dict[Callable[..., None], str] = {
    info: "llamacffi info --json",
    inspect: "llamacffi inspect model.gguf --ctx-size 8192",
    generate: 'llamacffi generate -p "The sea is" -n 32 --temp 0',
    chat: 'llamacffi chat -m model.gguf -sys "Answer in one sentence."',
    tokenize: 'llamacffi tokenize -p "The sea" --ids',
    detokenize: "llamacffi detokenize 504 3426",
    embed: "llamacffi embed --lines < texts.txt > embeddings.jsonl",
    perplexity: "llamacffi perplexity text.txt -m model.gguf",
    quantize: "llamacffi quantize model-f16.gguf model-q4.gguf Q4_K_M",
    bench: "llamacffi bench -m model.gguf -p 512 -n 128",
    rpc_server: "llamacffi rpc-server --host 192.168.0.7 --memory 16000",
    plan: "llamacffi plan model.gguf --worker 16GB --worker 32GB,100,1",
}
WITHOUT_TYPER = {
    "demo": "Show this machine, a model, and text that it generates.",
    "run": "Run a program, with llamacffi in llama-cpp-python's place.",
    "adopt": "Install llama-cpp-python over this engine, without a compiler.",
}


class Commands(typer.core.TyperGroup):
    """Ends as `main` says where the reader of a pipe is gone: Typer would take it for an error of its own."""

    def invoke(self, ctx: Any) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise typer.Exit(main.hushed()) from None


app = typer.Typer(cls=Commands, rich_markup_mode=None, context_settings=HELP, epilog="Example: llamacffi chat")


@app.callback()
def before(
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show what llama.cpp logs.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the versions, and leave.")] = False,
) -> None:
    """llama.cpp for CPython as one compiled cffi extension."""
    if version:
        print(f"llamacffi {main.version()}")
        raise typer.Exit
    engine.quieten(verbose=verbose)


def run(arguments: list[str]) -> int:
    """Do what the arguments say, and return the exit status."""
    try:
        status = typer.main.get_command(app).main(arguments, prog_name="llamacffi", standalone_mode=False)
    except typer.TyperException as error:  # wrong usage
        print(f"llamacffi: {error.format_message()}", file=sys.stderr)
        return error.exit_code
    except typer.Abort:  # stdin ended where an answer was expected
        return 1
    return status if isinstance(status, int) else 0


def hand_back(context: typer.Context) -> None:
    """Give a command to `main`, which has taken it already where no option stands before it."""
    raise typer.Exit(main.main([str(context.info_name), *context.args]))


for command, example in COMMANDS.items():
    app.command(context_settings=HELP, epilog=f"Example: {example}")(options.with_options(command))
for name, does in WITHOUT_TYPER.items():
    app.command(name, help=does, add_help_option=False, context_settings=AS_IT_IS)(hand_back)
