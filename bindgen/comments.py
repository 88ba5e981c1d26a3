"""Read what the headers say in comments, which no parser keeps, by the place of the declaration that they belong to.

A declaration has the comment that ends on the line above it and those on its own lines. Doxygen's words become plain
text.
"""

from __future__ import annotations

import functools
import pathlib
import re
from collections.abc import Iterator

from pycparser import c_ast

MARK = re.compile(r"\s*(?://[/!]?<?|/\*[*!]?<?|\*/|\*(?!/))\s?")  # what begins a line of a comment
DOXYGEN = (
    (re.compile(r"[@\\](?:brief|details)\s+"), ""),
    (re.compile(r"[@\\]param(?:\[[a-z,]+\])?\s+(\w+)\s+"), r"\1: "),
    (re.compile(r"[@\\]returns?\s+(?:Returns?\s+)?"), "Returns "),
    (re.compile(r"[@\\](note|warning)\s+"), r"\1: "),
)
RULE = re.compile(r"[\s=#*~-]*")  # a line that is only drawn


def of(node: c_ast.Node) -> str:
    """Return the comments of a declaration, or ''."""
    return at(node.coord.file, node.coord.line)


def at(file: str, line: int) -> str:
    """Return the comments of what is declared on a line, counted from 1, or ''."""
    lines = header_lines(file)
    first = _first(lines, line - 1)
    above = "\n".join(_above(lines, first)).strip()
    return "\n".join(filter(None, [above, *_within(lines, first, line - 1)]))


def _first(lines: tuple[str, ...], index: int) -> int:
    """Go up to where the declaration begins: macros and the type may stand on lines of their own."""
    while index and re.fullmatch(r"(?!\s*[#/*]).*[\w*(]\s*", _split(lines[index - 1])[0]):
        index -= 1
    return index


def _above(lines: tuple[str, ...], first: int) -> list[str]:
    """The comment that ends right above: a block, or lines that are nothing else."""
    start = first
    if start and re.search(r"\*/\s*$", lines[start - 1]):
        while start and not lines[start].lstrip().startswith("/*"):
            start -= 1
    else:
        while start and re.match(r"\s*//", lines[start - 1]):
            start -= 1
    return _tidy(lines[start:first])


def _within(lines: tuple[str, ...], first: int, name: int) -> Iterator[str]:
    """The comments up to the end of the declaration; one behind a parameter begins with its name."""
    last = _last(lines, name)
    for index in range(first, last + 1):
        code, comment = _split(lines[index])
        said = "\n".join(_tidy((comment,)))
        parameter = re.search(r"(\w+)\s*(?:\[\d*\])?\s*[,)]", code) if index > name else None
        if said:
            yield f"{parameter[1]}: {said.lstrip('= ')}" if parameter else said


def _last(lines: tuple[str, ...], index: int) -> int:
    """Go down to where the declaration ends, by a semicolon, an enumerator's comma or a brace."""
    depth = 0
    for last in range(index, len(lines)):
        code, _ = _split(lines[last])
        depth += code.count("(") - code.count(")")
        if depth <= 0 and re.search(r"[;,{}]", code):
            return last
    return index


def _split(line: str) -> tuple[str, str]:
    """Part a line into code and comments."""
    code = re.sub(r"//.*|/\*.*?\*/|\"[^\"]*\"", "", line)
    return code, " ".join(re.findall(r"//.*|/\*.*?\*/", line))


def _tidy(lines: tuple[str, ...]) -> list[str]:
    return [_plain(line) for line in lines if not RULE.fullmatch(MARK.sub("", line)) or not line.strip("/*! \t")]


def _plain(line: str) -> str:
    text = MARK.sub("", line, count=1).removesuffix("*/").rstrip()
    for pattern, words in DOXYGEN:
        text = pattern.sub(words, text)
    return text


@functools.cache
def header_lines(file: str) -> tuple[str, ...]:
    """Return the lines of a header."""
    return tuple(pathlib.Path(file).read_text(encoding="utf-8").splitlines())
