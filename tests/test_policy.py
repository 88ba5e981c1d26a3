"""Where the headers and bindgen/policy.toml do not meet, the build stops with a sentence that says what to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bindgen import policy, safety_table, trim_header
from support.checkout import ROOT, source

HEADER = """
struct llama_thing;
struct llama_thing * llama_thing_new(void);
void llama_thing_free(struct llama_thing * thing);
"""
POLICY = """
[kinds]
llama_thing = { known = true }
[functions.llama_thing_new]
creates = true
[functions.llama_thing_free]
frees = "thing"
"""

Judge = Callable[[str, str], str]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Judge a policy against a small header of its own, beside HEADER and POLICY; return the sentences, or ''."""

    def run(header: str, rules: str) -> str:
        for name in trim_header.HEADERS:
            (tmp_path / "include").mkdir(exist_ok=True)
            (tmp_path / "include" / name).write_text(HEADER + header if name == "llama.h" else "")
        (tmp_path / "policy.toml").write_text(POLICY + rules)
        try:
            policy.judge(policy.load(tmp_path / "policy.toml"), trim_header.trim(tmp_path))
        except policy.PolicyError as error:
            return str(error)
        return ""

    return run


def test_a_policy_that_meets_its_header_stops_nothing(judge: Judge) -> None:
    assert judge("", "") == ""


def test_the_policy_meets_the_pinned_headers() -> None:
    policy.judge(policy.load(), trim_header.trim(source()))


@pytest.mark.parametrize(
    ("header", "rules", "sentence"),
    [
        pytest.param(
            "",
            "[functions.llama_gone]\nkeeps_gil = true",
            r'llama_gone is no function of the headers: remove it, or correct the name in \[functions\."llama_gone"\]',
            id="a function that is not there",
        ),
        pytest.param(
            "",
            '[functions."llama_gone_* llama_thing_*"]\nkeeps_gil = true',
            r"llama_gone_\* is no function of the headers",
            id="a pattern that matches none",
        ),
        pytest.param(
            "void llama_thing_grow(struct llama_thing * thing, size_t size);",
            '[functions.llama_thing_grow]\nbounds = { buffer = "size" }',
            r"llama_thing_grow has no parameter 'buffer', which bounds names",
            id="a parameter that is not there",
        ),
        pytest.param(
            "void llama_thing_name(struct llama_thing * thing, char * buf);",
            "",
            r"llama_thing_name: no rule covers the pointer buf \(char \*\): write `bounds = \{buf = .+ or the reason",
            id="a pointer that no rule covers",
        ),
        pytest.param(
            "void gguf_read(const void * data);",
            "",
            r"gguf_read: no rule covers the pointer data \(const void \*\)",
            id="a pointer of gguf",
        ),
        pytest.param(
            "void ggml_row_read(const void * data);",
            "",
            r"ggml_row_read: no rule covers the pointer data \(const void \*\)",
            id="a pointer of ggml",
        ),
        pytest.param(
            "void llama_thing_grow(struct llama_thing * thing, int n_threads);",
            "",
            r"llama_thing_grow: no rule covers the number n_threads \(int\): write `limits = ",
            id="a number that no rule covers",
        ),
        pytest.param(
            "struct llama_size { int n; };\nvoid llama_fit(struct llama_size size);",
            "",
            r"llama_size \(in llama_fit\): no rule covers the number n \(int\): write `limits = ",
            id="a number in a struct",
        ),
        pytest.param(
            "enum llama_shape { ROUND };\nstruct llama_look { enum llama_shape shape; };\n"
            "void llama_thing_wear(struct llama_thing * thing, const struct llama_look * look);",
            "",
            r"enum llama_shape is a new enum \(in llama_look\.shape, llama_thing_wear\): write ",
            id="an enum in a struct",
        ),
        pytest.param(
            "struct llama_size { bool wide; };\nvoid llama_fit(struct llama_size size);",
            "[structs.llama_size]\nlimits = { height = [0, 1] }",
            r"llama_size has no field 'height', which limits names: correct or remove it in \[structs\.llama_size\]",
            id="a field that is not there",
        ),
        pytest.param(
            "",
            "[structs.llama_size]\nlimits = { height = [0, 1] }",
            r"\[structs\.llama_size\] is no struct that C reads from a function's arguments: remove it",
            id="a struct that is not there",
        ),
        pytest.param(
            "void llama_thing_name(struct llama_thing * thing, char * buf);",
            '[functions.llama_thing_name]\nbounds = { buf = "2 * size" }',
            r"llama_thing_name has no parameter 'size', which the formula '2 \* size' names: correct it",
            id="a formula of what is not there",
        ),
        pytest.param(
            "void llama_thing_name(struct llama_thing * thing, char * buf);",
            '[functions.llama_thing_name]\nbounds = { buf = "2 *" }',
            r"llama_thing_name: '2 \*' is no formula: correct it in \[functions\.llama_thing_name\]",
            id="a formula that is none",
        ),
        pytest.param(
            "typedef void (*llama_hook)(void * data);\nvoid llama_set_hook(llama_hook hook);",
            "",
            r"llama_set_hook: no rule covers the pointer hook .+: write `keeps = \[.hook.\]` .+ or `replaces = ",
            id="a callback",
        ),
        pytest.param(
            "struct llama_thing * llama_thing_of(void);",
            "",
            r"llama_thing_of returns a llama_thing and does not say whose it is: write `creates = true`",
            id="a handle without an owner",
        ),
        pytest.param(
            "struct llama_thing * llama_thing_of(struct llama_thing * thing);",
            "[functions.llama_thing_of]\ncreates = true",
            r"llama_thing_of makes an object of thing, and does not say .+: write `reads = \[\"thing",
            id="a new object of another",
        ),
        pytest.param(
            "struct llama_thing * llama_thing_of(struct llama_thing * thing);",
            '[functions.llama_thing_of]\ncreates = true\nreads = ["thing"]',
            r"llama_thing_free frees what others read, or what reads others: write `replaced_by = …`",
            id="an end that does not wait for readers",
        ),
        pytest.param(
            "struct llama_size { bool wide; };\nvoid llama_resize(struct llama_size size);",
            "[structs.llama_size]\narrays = { items = {} }",
            r"llama_size has no field 'items', which arrays names: correct or remove it in \[structs\.llama_size\]",
            id="an array that is not there",
        ),
        pytest.param(
            "struct llama_other;\nvoid llama_other_use(struct llama_other * other);",
            "",
            r"llama_other is a new type of handle \(in llama_other_use\): write \[kinds\.llama_other\]",
            id="a new type of handle",
        ),
        pytest.param(
            "enum llama_colour { RED, GREEN };\nvoid llama_paint(enum llama_colour colour);",
            "",
            r'enum llama_colour is a new enum \(in llama_paint\): write \[enums\."enum llama_colour"\] with `count',
            id="a new enum",
        ),
        pytest.param(
            "",
            '[enums]\n"enum llama_shape" = { reason = "gone" }',
            r'"enum llama_shape" is no parameter\'s or field\'s type: remove',
            id="an enum that is not there",
        ),
        pytest.param(
            "",
            "[functions.llama_thing_size]\nkeep_gil = true",
            r"\[functions\.\"llama_thing_size\"\] has the unknown key 'keep_gil': use one of ",
            id="a rule that is spelled wrong",
        ),
    ],
)
def test_the_build_says_what_to_write(judge: Judge, header: str, rules: str, sentence: str) -> None:
    said = judge(header, rules)
    assert re.search(rf"^bindgen/policy\.toml: {sentence}", said), said
    assert len(said.splitlines()) == 1


def test_the_table_of_what_is_covered_is_made_of_the_headers() -> None:
    rows = [*safety_table.rows(trim_header.trim(source()), policy.load())]
    assert len(rows) == len(safety_table.MECHANISMS)
    assert any("`llama_init_from_model` (model, params.ctx_other)" in row for row in rows)
    assert all(row.split("|")[2].strip() != "0" for row in rows)


def test_a_reason_covers_a_pointer(judge: Judge) -> None:
    header = "void llama_thing_name(struct llama_thing * thing, char * buf);"
    assert judge(header, '[functions.llama_thing_name]\nreason = { buf = "one character" }') == ""


def test_no_source_compares_the_name_of_a_function() -> None:
    """What is known of a function stands in the policy: csrc/ names it only where it calls it."""
    compared = re.compile(r'(compare|is|starts|has_word)\([^;]*"(llama|ggml|gguf)_\w+"')
    files = [*(ROOT / "csrc").rglob("*.h"), *(ROOT / "csrc").rglob("*.cpp")]
    assert files
    assert not [file.name for file in files if compared.search(file.read_text(encoding="utf-8"))]
