"""The generated reference has every declaration of the headers once, with its comment and what the policy says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from bindgen import policy, reference, trim_header
from llamacffi import lib
from support.checkout import ROOT, source

FUNCTION = re.compile(r"\b(?:LLAMA|GGML|GGML_BACKEND|MTMD)_API\b(?:\s+DEPRECATED\()?[^;(]*?\b(\w+)\s*\(")


PREFIXES = ("llama_", "ggml_", "gguf_", "mtmd_")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages(trim_header.trim(source()), policy.load())


def sections(pages: dict[str, str]) -> list[str]:
    """Return the functions that have a section; those of types begin with another word."""
    return re.findall(r"^## (\w+)$", "\n".join(pages.values()), re.M)


def section(page: str, title: str) -> str:
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def text_of(header: str) -> str:
    (path,) = (source() / folder / header for folder in trim_header.FOLDERS if (source() / folder / header).exists())
    return path.read_text(encoding="utf-8")


def declared(header: str) -> set[str]:
    """Read the functions that a header exports in C, without the parser that the reference is made with."""
    in_c = re.sub(r"^#ifdef __cplusplus[\s\S]*?^#endif", "", text_of(header), flags=re.M)
    return set(FUNCTION.findall(re.sub(r"//.*|/\*[\s\S]*?\*/|^#.*", "", in_c, flags=re.M)))


@pytest.mark.parametrize("header", trim_header.HEADERS)
def test_every_exported_function_has_a_section(pages: dict[str, str], header: str) -> None:
    names = declared(header)
    assert names
    assert names - set(sections(pages)) == set()


def test_every_function_of_the_extension_has_one_section(pages: dict[str, str]) -> None:
    found = sections(pages)
    functions = {name for name in dir(lib) if name.startswith(PREFIXES) and callable(getattr(lib, name))}
    assert functions - set(found) == set()
    assert len(found) == len(set(found))


def test_a_section_has_the_prototype_the_comment_and_the_rules(pages: dict[str, str]) -> None:
    """Expected are a line of llama.h and one of policy.toml."""
    told = section(pages["vocab.md"], "llama_tokenize")
    (comment,) = re.findall(r"/// @details (Convert the provided text into tokens\.)", text_of("llama.h"))
    assert comment in told
    assert "int32_t n_tokens_max" in told
    assert "Behind `tokens` there must be `n_tokens_max` items." in told


def test_a_struct_has_its_fields_with_their_comments(pages: dict[str, str]) -> None:
    (comment,) = re.findall(r"uint32_t n_ubatch; +// (.+)", text_of("llama.h"))
    told = section(pages["context.md"], "struct llama_context_params")
    assert f"- `uint32_t n_ubatch`<br>{comment}\n" in told


def test_the_navigation_has_every_page(pages: dict[str, str]) -> None:
    docs = ROOT / "docs"
    written = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    nav = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    assert sorted(files(nav)) == sorted(written | {f"reference/{page}" for page in pages})


def files(nav: Any) -> Iterator[str]:
    """Yield the files of a part of the navigation."""
    if isinstance(nav, str):
        yield nav
    for part in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from files(part)
