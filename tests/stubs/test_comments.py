"""What `bindgen.comments` finds in a header for each declaration."""

from __future__ import annotations

from pathlib import Path

import pytest

from bindgen import comments

HEADER = """\
// of something else

// Above it.
//   - and indented
API int above(void);
API int nothing(void); // behind it
API int after_that(void);

/// @brief Doxygen's words.
/// @param n how many
/// @return Returns the number
DEPRECATED(
    API int doxygen(int n),
    "use another");

/*
 * A block
 *
 * of text.
 */
API struct tensor * parameters(
        struct context * ctx,
        int              k0, // kernel size
        int              n /* = 4 */);

enum kind {
    ONE, // the first
    // said above
    TWO
};

// =======
API int drawn(void);
"""


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("above(", "Above it.\n  - and indented"),
        ("nothing(", "behind it"),
        ("after_that(", ""),
        ("doxygen(", "Doxygen's words.\nn: how many\nReturns the number"),
        ("parameters(", "A block\n\nof text.\nk0: kernel size\nn: 4"),
        ("ONE", "the first"),
        ("TWO", "said above"),
        ("drawn(", ""),
    ],
)
def test_a_declaration_has_the_comment_above_it_and_those_on_its_lines(
    tmp_path: Path, declared: str, said: str
) -> None:
    header = tmp_path / "header.h"
    header.write_text(HEADER, encoding="utf-8")
    line = next(number for number, text in enumerate(HEADER.splitlines(), 1) if declared in text)
    assert comments.at(str(header), line) == said
