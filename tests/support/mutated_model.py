"""Damage a GGUF file's metadata, the same way for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import gguf

# As long as "llama", so that nothing moves.
ARCHITECTURES = tuple(name for name in sorted(gguf.MODEL_ARCH_NAMES.values()) if len(name) == len("llama"))
ODD_NUMBERS = (0, 1, 2, 3, 5, 7, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1)


def mutate(model: Path, kind: str, seed: int) -> bytes:
    """Return the file with a change in its metadata.

    Args:
        model: the GGUF file.
        kind: "bytes" overwrites up to four bytes anywhere before the tensors' data; "number" puts an odd value
            into up to two of the numbers that the metadata holds; "architecture" calls the model by the name of
            another architecture besides, whose tensors or numbers it lacks.
        seed: chooses the place and the value.
    """
    contents = bytearray(model.read_bytes())
    chance = random.Random(seed)
    KINDS[kind](contents, gguf.GGUFReader(model), chance)
    return bytes(contents)


def overwrite_bytes(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        contents[chance.randrange(reader.data_offset)] = chance.randrange(256)


def overwrite_numbers(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    places = sorted(number_places(reader))
    for start in chance.sample(places, chance.randint(1, 2)):
        contents[start : start + 4] = chance.choice(ODD_NUMBERS).to_bytes(4, "little")


def overwrite_architecture(contents: bytearray, reader: gguf.GGUFReader, chance: random.Random) -> None:
    overwrite_numbers(contents, reader, chance)
    name = chance.choice(ARCHITECTURES)
    value = reader.fields["general.architecture"]
    starts = [field.offset + field.parts[0].nbytes for key, field in reader.fields.items() if key.startswith("llama.")]
    for start in [value.offset + sum(part.nbytes for part in value.parts[:-1]), *starts]:
        contents[start : start + len(name)] = name.encode()


def number_places(reader: gguf.GGUFReader) -> Iterator[int]:
    """Find the four-byte values of the metadata that are no arrays, and the sizes in the table of the tensors."""
    for field in reader.fields.values():
        four_bytes = field.types and field.types[0] in (gguf.GGUFValueType.UINT32, gguf.GGUFValueType.FLOAT32)
        if four_bytes and not field.name.startswith("GGUF."):
            yield field.offset + sum(part.nbytes for part in field.parts[:-1])
    for tensor in reader.tensors:
        field = tensor.field
        yield field.offset + field.parts[0].nbytes + field.parts[1].nbytes + field.parts[2].nbytes


KINDS = {"bytes": overwrite_bytes, "number": overwrite_numbers, "architecture": overwrite_architecture}
