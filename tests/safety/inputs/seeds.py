"""Write the first inputs of each target, made from the tests' own tiny models, and the model that the targets share.

`python -m inputs.seeds FOLDER` writes FOLDER/TARGET/*, FOLDER/words.dict and FOLDER/models/*. Small ones: a fuzzer gets
the further the fewer bytes there are to change.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from inputs import architectures
from llamacffi import llama_cpp as llama
from support import gguf_files, tiny_model
from support.child import be_quiet
from support.objects import context_of, decode, ints, load

FIRST = "0-llama.gguf"  # the model of the adapters
SMALL = tiny_model.Shape(width=architectures.WIDTH)
# A cache with windows, one beside a recurrent state, and such a state alone.
STATES: dict[str, dict[str, Any]] = {
    "gemma2": {"block_count": 2},
    "jamba": {"block_count": 2, "head_count_kv": [0, 2]},
    "mamba": {},
}
SEEN = (1, 2, 3)
LETTERS = ("<unk>", "<s>", "</s>", "a", "t", "h", "e", "▁", "at", "the", "▁the", "Ġa", "Ġ", "<0x0A>", "é")

# What is loaded of a vocabulary goes by its tokenizer; each has a small one.
TOKENIZERS = ("llama", "gpt2", "bert", "t5", "rwkv", "plamo2", "gemma4", "no_vocab")

GRAMMARS = (
    b'root ::= "a" | "b"+ [c-e] ("the" | [^a-z\\n]){1,3} "\\x41\\u00e9"?',
    b"root ::= first (second)* # a comment\nfirst ::= [ab] .\nsecond ::= first | <[5]> | !<[6]> | <s>",
    b'root ::= "a" root | ""\n',
    b'root ::= ("a" | ("b" | "c"{2,}){,3})\0^(?:a|b)+?\\s*(c{1,3})$',
    b'root ::= [a-zA-Z0-9_.-]{0,5} "\\\\" "\\"" \0a.*b',
)
PIECES = (b"::=", b"{1,", b"{,", b"[^", b"\\x", b"\\U0001", b"\\u", b"<[", b"!<", b"(?:", b"(?=", b"\\s", b"#")

# Words by which llama.cpp tells the templates that it knows, in sentences of ours.
TEMPLATE_WORDS = (
    *(b"<|im_start|>", b"<|im_sep|>", b"[INST]", b"[SYSTEM_PROMPT]", b" [INST]", b'"[INST]"', b"<<SYS>>", b"bos_token"),
    *(b"<|user|>", b"<|assistant|>", b"<|end|>", b"<|endoftext|>", b"<start_of_turn>", b"<|start_header_id|>"),
    *(b"USER: ", b"ASSISTANT: ", b"### Instruction:", b"<|START_OF_TURN_TOKEN|>", b"<|end_of_text|>", b"[gMASK]sop"),
    *(b"<|role_start|>", b"<|message_sep|>", b"<|begin|>", b"GPT4 Correct ", b"</s>", b"message['content'].strip()"),
)
MESSAGES = b"\0system\0be short\0user\0 hello\0assistant\0hi\0user\0\xc3\xa9"


def small_vocabulary(path: Path, tokenizer: str) -> Path:
    """Write a model without tensors that has a tokenizer of this kind."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(len(LETTERS))
    writer.add_tokenizer_model(tokenizer)
    writer.add_tokenizer_pre("default")
    writer.add_token_list(LETTERS)
    writer.add_token_scores([-float(index) for index in range(len(LETTERS))])
    writer.add_token_types([2, 3, 3, *[1] * (len(LETTERS) - 3)])
    writer.add_token_merges(["a t", "t h", "th e"])
    writer.add_chat_template(gguf_files.CHAT_TEMPLATE)
    writer.add_precompiled_charsmap((12).to_bytes(4, "little") + bytes(range(24)))
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_unk_token_id, writer.add_pad_token_id):
        add(1)
    tiny_model.finish(writer)
    return path


def small_adapter(path: Path) -> Path:
    """Write an adapter of the shared model, which is as narrow, and begins where some tokens were seen."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0)
    array, number = gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT32
    writer.add_key_value("adapter.alora.invocation_tokens", [1, 2], array, sub_type=number)
    for half, size in {"lora_a": (2, SMALL.width), "lora_b": (SMALL.width, 2)}.items():
        writer.add_tensor(f"blk.0.attn_q.weight.{half}", np.ones(size, np.float32))
    tiny_model.finish(writer)
    return path


# ---------------------------------------------------------------- the targets


def model_seeds(folder: Path) -> Iterator[bytes]:
    for tokenizer in TOKENIZERS:
        yield small_vocabulary(folder / "seed", tokenizer).read_bytes()
    yield from architectures.all_of_them(folder / "seed")
    yield from (path.read_bytes() for path in sorted((folder / "models").iterdir()))


def adapter_seeds(folder: Path) -> Iterator[bytes]:
    yield small_adapter(folder / "seed").read_bytes()


def decoded(folder: Path) -> Iterator[object]:
    """Give a context of each shared model that has seen a few tokens."""
    for path in sorted((folder / "models").iterdir()):
        context = context_of(load(path), n_ctx=64, n_batch=64, n_ubatch=64, n_seq_max=2)
        assert decode(context, SEEN) == 0
        yield context


def state_seeds(folder: Path) -> Iterator[bytes]:
    for context in decoded(folder):
        room = bytearray(llama.llama_state_get_size(context))
        yield bytes(room[: llama.llama_state_get_data(context, room, len(room))])
        yield bytes(room[: llama.llama_state_seq_get_data(context, room, len(room), 0)])


def session_seeds(folder: Path) -> Iterator[bytes]:
    path = folder / "seed"
    for context in decoded(folder):
        llama.llama_state_save_file(context, os.fsencode(path), ints(*SEEN), len(SEEN))
        yield path.read_bytes()
        llama.llama_state_seq_save_file(context, os.fsencode(path), 0, ints(*SEEN), len(SEEN))
        yield path.read_bytes()


def template_names() -> list[bytes]:
    count = llama.llama_chat_builtin_templates(None, 0)
    names = (ctypes.c_char_p * count)()
    llama.llama_chat_builtin_templates(names, count)
    return [name for name in names if name]


def template_seeds(folder: Path) -> Iterator[bytes]:
    for text in (*TEMPLATE_WORDS, *template_names(), b"{% for m in messages %}" + b" ".join(TEMPLATE_WORDS)):
        yield text + MESSAGES


SEEDS: dict[str, Callable[[Path], Iterator[bytes]]] = {
    "gguf": model_seeds,
    "model": model_seeds,
    "adapter": adapter_seeds,
    "state": state_seeds,
    "session": session_seeds,
    "grammar": lambda folder: iter(GRAMMARS),
    "template": template_seeds,
}


# ---------------------------------------------------------------- words that are not found by chance


def words() -> Iterator[bytes]:
    yield from (*PIECES, *TEMPLATE_WORDS, *template_names(), *map(str.encode, TOKENIZERS))
    yield from map(str.encode, sorted(set(gguf.MODEL_ARCH_NAMES.values())))
    names = (
        name
        for group in vars(gguf.Keys).values()
        if isinstance(group, type)
        for name in vars(group).values()
        if isinstance(name, str)
    )
    yield from (name.replace("{arch}", "llama").encode() for name in names if "." in name)


def entry(word: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02X}" for byte in word) + '"\n'


def write_models(folder: Path) -> None:
    """Write the models that adapters and states belong to: the tiny one, and some that keep another kind of state."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_model.write(folder / FIRST, SMALL)
    for architecture, numbers in STATES.items():
        assert architectures.write(folder / f"{architecture}.gguf", architecture, **numbers)


def main() -> None:
    be_quiet()
    folder = Path(sys.argv[1])
    write_models(folder / "models")
    for target, seeds in SEEDS.items():
        (folder / target).mkdir(exist_ok=True)
        for number, seed in enumerate(seeds(folder)):
            (folder / target / f"seed-{number}").write_bytes(seed)
    (folder / "seed").unlink()
    (folder / "words.dict").write_text("".join(map(entry, words())), encoding="ascii")


if __name__ == "__main__":
    main()
