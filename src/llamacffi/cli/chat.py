"""`llamacffi chat`: a conversation, in the format of the model's own template.

The whole conversation is laid out anew for each answer, and what the context has of it already is not computed again.
So what is taken back, cleared or forgotten needs nothing special.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from llamacffi import llama_cpp
from llamacffi.cli import CommandError, engine, terminal
from llamacffi.cli.generate import Predict, Written
from llamacffi.cli.main import sentence
from llamacffi.cli.options import BatchEngine, ContextSize
from llamacffi.cli.sampling import Sampling, chain_of, remember

SYSTEM = "system"
PROMPT = "> "
QUIT = "/quit"

Message = dict[str, str]  # "role" and "content"

System = Annotated[str | None, typer.Option("-sys", "--system-prompt", metavar="TEXT", help="How it should answer.")]
Template = Annotated[
    str | None, typer.Option("--chat-template", metavar="NAME", help="One of llama.cpp's (the model's own).")
]


def chat(
    *,
    system_prompt: System = None,
    chat_template: Template = None,
    n_predict: Predict = -1,
    ctx_size: ContextSize = None,
    given: BatchEngine,
    sampling: Sampling,
) -> None:
    """Talk with a model."""
    with (
        engine.load(given) as model,
        engine.context_of(model, given, engine.context_size(model, ctx_size), n_batch=given.batch_size) as context,
        chain_of(llama_cpp.llama_model_get_vocab(model), sampling) as sampler,
    ):
        engine.check_writes(context)
        template = template_of(model, chat_template)
        talk = Talk(context, sampler, template, n_predict, system_prompt)
        if sys.stdin.isatty():
            terminal.remark("/help lists the commands; Ctrl-C stops an answer; Ctrl-D or /quit ends.")
        for line in lines():
            if not answered(talk, line):
                return


def template_of(model: int, named: str | None) -> bytes:
    """Return the template's text or name, which llama.cpp must know.

    Raises:
        CommandError: the model has none, or llama.cpp does not know it.
    """
    template: bytes | None = named.encode() if named else llama_cpp.llama_model_chat_template(model, None)
    if template is None:
        raise CommandError("the model has no chat template: name one with --chat-template, such as chatml")
    message = llama_cpp.llama_chat_message(role=b"user", content=b"")
    if llama_cpp.llama_chat_apply_template(template, message, 1, True, bytearray(1), 0) >= 0:
        return template
    if named:
        raise CommandError(f"there is no chat template {named}: there are {', '.join(builtin_templates())}")
    raise CommandError(
        "llama.cpp does not know the model's chat template without Jinja: name one like it with --chat-template, "
        f"of {', '.join(builtin_templates())}"
    )


def builtin_templates() -> list[str]:
    number = llama_cpp.llama_chat_builtin_templates(None, 0)
    names = (ctypes.c_char_p * number)()
    llama_cpp.llama_chat_builtin_templates(names, number)
    return [name.decode() for name in names if name]


# ---------------------------------------------------------------- lines and commands


def lines() -> Iterator[str]:
    """Yield what the user writes, until the end of stdin."""
    if not sys.stdin.isatty():
        yield from (line.rstrip("\n") for line in sys.stdin)
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (editing and history, where Python was built with it)
    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            raise


def answered(talk: Talk, line: str) -> bool:
    """Do what a line says, and tell whether there may be another; at a terminal a mistake is no end."""
    try:
        return act(talk, line.strip())
    except BrokenPipeError:
        raise
    except (CommandError, OSError, KeyboardInterrupt) as error:
        if not sys.stdin.isatty():
            raise
        terminal.remark("stopped" if isinstance(error, KeyboardInterrupt) else sentence(error))
    return True


def act(talk: Talk, line: str) -> bool:
    name, _, rest = line.partition(" ")
    if name == QUIT:
        return False
    if name.startswith("/"):
        COMMANDS.get(name, unknown)(talk, rest.strip())
    elif line:
        talk.ask(line)
    return True


def help_(_talk: Talk, _rest: str) -> None:
    """Show this."""
    shown = terminal.console(stderr=True)
    for name, command in COMMANDS.items():
        shown.print(Text(f"  {name:<8}{command.__doc__}"))
    shown.print(Text(f"  {QUIT:<8}Leave, as Ctrl-D does."))


def clear(talk: Talk, _rest: str) -> None:
    """Forget the conversation."""
    talk.messages = talk.messages[: talk.has_system]


def retry(talk: Talk, _rest: str) -> None:
    """Answer the last message once more."""
    talk.ask(talk.take_back())


def undo(talk: Talk, _rest: str) -> None:
    """Take back the last message and its answer."""
    talk.take_back()


def save(talk: Talk, rest: str) -> None:
    """Write the conversation to a file, as JSON."""
    try:
        with Path(named(rest)).open("x", encoding="utf-8") as file:
            json.dump(talk.messages, file, indent=2, ensure_ascii=False)
    except FileExistsError:
        raise CommandError(f"{rest} is there already, and stays as it is: give another name") from None
    terminal.remark(f"{len(talk.messages)} messages are in {rest}")


def load(talk: Talk, rest: str) -> None:
    """Go on with a conversation of a file."""
    try:
        messages = json.loads(Path(named(rest)).read_text(encoding="utf-8"))
    except ValueError:
        messages = None
    if not isinstance(messages, list) or not all(map(is_message, messages)):
        raise CommandError(f"{rest} should hold what /save wrote: a list of objects with a role and a content")
    talk.messages = messages


def named(rest: str) -> str:
    if not rest:
        raise CommandError("name a file")
    return rest


def is_message(given: object) -> bool:
    return isinstance(given, dict) and all(isinstance(given.get(name), str) for name in ("role", "content"))


def unknown(_talk: Talk, _rest: str) -> None:
    raise CommandError("there is no such command: /help lists them")


COMMANDS: dict[str, Callable[[Talk, str], None]] = {
    "/help": help_,
    "/clear": clear,
    "/retry": retry,
    "/undo": undo,
    "/save": save,
    "/load": load,
}


# ---------------------------------------------------------------- the conversation


class Talk:
    """A conversation, and what the context has of it."""

    def __init__(self, context: int, sampler: int, template: bytes, n_predict: int, system: str | None) -> None:
        self.messages: list[Message] = [{"role": SYSTEM, "content": system}] if system else []
        self._context, self._sampler, self._template, self._n_predict = context, sampler, template, n_predict
        self._vocab = llama_cpp.llama_model_get_vocab(llama_cpp.llama_get_model(context))
        self._memory = llama_cpp.llama_get_memory(context)
        self._computed: list[int] = []

    @property
    def has_system(self) -> bool:
        return bool(self.messages) and self.messages[0]["role"] == SYSTEM

    def take_back(self) -> str:
        """Remove the last message of the user and what came after it; return it."""
        places = [place for place, message in enumerate(self.messages) if message["role"] == "user"]
        if not places:
            raise CommandError("there is no message yet")
        text = self.messages[places[-1]]["content"]
        del self.messages[places[-1] :]
        return text

    def ask(self, text: str) -> None:
        """Answer a message. Ctrl-C stops the answer, of which what is written stays in the conversation."""
        self.messages.append({"role": "user", "content": text})
        try:
            speed = self._read()
        except BaseException:
            self.messages.pop()
            raise
        written = Written()
        try:
            written.show(self._vocab, self._answer())
        finally:
            self.messages.append({"role": "assistant", "content": written.text.strip()})
            terminal.remark(f"prompt {speed}; answer {written.speed()}")

    def _read(self) -> str:
        """Compute what the context does not have yet of the conversation."""
        tokens = self._fitting()
        known = self._computed[: engine.last_position(self._context) + 1]
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(tokens, known, strict=False)))
        same = self._forget_from(min(same, len(tokens) - 1))  # the last one is computed again, for its logits
        seconds = engine.read(self._context, tokens[same:])
        self._computed = tokens
        return terminal.speed(len(tokens) - same, seconds)

    def _forget_from(self, place: int) -> int:
        """Drop what was computed from there on, or all of it where the memory cannot drop a part."""
        self._computed = []
        if llama_cpp.llama_memory_seq_rm(self._memory, 0, place, -1):
            return place
        llama_cpp.llama_memory_clear(self._memory, True)
        return 0

    def _fitting(self) -> list[int]:
        """Return the conversation's tokens; its oldest messages are forgotten where it is larger than the context."""
        room = llama_cpp.llama_n_ctx_seq(self._context)
        while len(tokens := self._tokens()) >= room:
            first = int(self.has_system)
            if len(self.messages) <= first + 1:
                raise CommandError(f"the message is too long for the context of {room:,} tokens: give a --ctx-size")
            del self.messages[first : first + 2]
            terminal.remark("the context is full: the oldest message and its answer are forgotten")
        return tokens

    def _tokens(self) -> list[int]:
        return engine.tokenize(self._vocab, laid_out(self._template, self.messages))

    def _answer(self) -> Iterator[int]:
        llama_cpp.llama_sampler_reset(self._sampler)
        remember(self._sampler, self._computed)
        for token in engine.sampled(self._context, self._vocab, self._sampler, self._n_predict):
            yield token
            self._computed.append(token)


def laid_out(template: bytes, messages: list[Message]) -> bytes:
    """Put the messages into the template, up to where the answer begins."""
    array = (llama_cpp.llama_chat_message * len(messages))(
        *[(message["role"].encode(), message["content"].encode("utf-8", "surrogateescape")) for message in messages]
    )
    needed = llama_cpp.llama_chat_apply_template(template, array, len(array), True, bytearray(1), 0)
    text = bytearray(max(needed, 1))
    llama_cpp.llama_chat_apply_template(template, array, len(array), True, text, len(text))
    return bytes(text[:needed])
