"""Write the reference of the documentation, a page a subject: `python -m bindgen.reference LLAMA_CPP FOLDER`.

Each declaration of the headers stands on one page, with its comment there and with what policy.toml adds. The comments
are upstream's, so the pages are made for the site each time, and committed nowhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import html
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pycparser import c_ast

from bindgen import comments, policy, trim_header
from bindgen.c_types import Types, is_variadic, parameter_names, parameters


class Subject(NamedTuple):
    """A page, and the patterns of what belongs there: names, or whole headers."""

    file: str
    title: str
    about: str
    patterns: str


# A declaration belongs to the first that matches. The last ones take what is left of a header, so that whatever a newer
# llama.cpp adds has a page.
SUBJECTS = (
    Subject(
        "sampling",
        "Sampling",
        "Choosing the next token",
        "llama_sampl* llama_perf_sampl* llama_set_sampler llama_get_sampled* llama_logit_bias llama_token_data*",
    ),
    Subject(
        "state",
        "State",
        "Saving what a context knows, and setting it",
        "llama_state* llama_?et_state* llama_copy_state* llama_*_session_file",
    ),
    Subject("memory", "Memory", "The KV cache and its sequences", "llama_memory* llama_get_memory"),
    Subject("adapters", "Adapters", "LoRA and control vectors", "llama_adapter* llama_set_adapter*"),
    Subject(
        "quantize",
        "Quantizing",
        "Smaller files",
        "llama_model_quantize* llama_ftype* llama_tensor_type* ggml_quantize* ggml_ftype*",
    ),
    Subject(
        "vocab",
        "Vocabulary",
        "Tokens, texts and chat templates",
        "llama_vocab* llama_token* llama_detokenize llama_chat* llama_add_?os_token",
    ),
    Subject(
        "batch",
        "Batches and results",
        "Decoding, logits and embeddings",
        "llama_batch* llama_embd llama_encode llama_decode llama_process* llama_get_logits* llama_get_embeddings*"
        " llama_synchronize",
    ),
    Subject(
        "threads",
        "Threads",
        "Thread pools, numbers of threads, stopping",
        "*_threadpool* llama_n_threads* llama_set_n_threads *numa* *abort_callback* ggml_sched_priority",
    ),
    Subject("training", "Training", "Optimizers and data sets", "*_opt_* ggml-opt.h"),
    Subject(
        "model",
        "Models",
        "Loading, saving and asking",
        "llama_model* llama_load_mode* llama_free_model llama_split_* llama_progress*",
    ),
    Subject(
        "context",
        "Contexts",
        "What computes and remembers",
        "llama_context* llama_init_* llama_new_context* llama_free llama_n_* llama_get_model llama_*pooling*"
        " llama_set_* llama_get_causal* llama_attention* llama_rope* llama_flash* llama_perf_context*",
    ),
    Subject("library", "The library", "Getting ready, the log, time, what it can do", "llama.h"),
    Subject("mtmd", "Images and sound", "Pictures and audio, for models that take them", "mtmd.h mtmd-helper.h"),
    Subject("gguf", "GGUF files", "Reading and writing them", "gguf.h"),
    Subject(
        "backend",
        "Backends and devices",
        "Devices, buffers, schedulers, remote ones",
        "ggml-backend.h ggml-rpc.h ggml-alloc.h",
    ),
    Subject("cpu", "The CPU backend", "Features of the CPU, graphs on it", "ggml-cpu.h"),
    Subject("ggml", "Tensors and graphs", "Operations, and what they are put together to", "ggml.h"),
)


# ---------------------------------------------------------------- what the policy adds


def _lengths(rules: policy.Rules) -> Iterator[str]:
    return (f"Behind `{name}` there must be `{length}` items." for name, length in rules.bounds.items())


def _limits(rules: policy.Rules) -> Iterator[str]:
    return (f"`{name}` is from `{least}` to `{most}`." for name, (least, most) in rules.limits.items())


def _result(rules: policy.Rules) -> Iterator[str]:
    belongs = f" that belongs to `{rules.owner}` and goes with it" if rules.owner else ""
    if rules.creates:
        yield f"The result is a new object{belongs}."
    elif rules.borrows:
        yield f"The result is an object{belongs or ' that is there already'}."
    if rules.gives_back:
        yield "The result belongs to nobody any more: it is yours to free."


def _owners(rules: policy.Rules, parameters: list[str]) -> Iterator[str]:
    reads = [name for name in rules.reads if name in parameters]
    yield from (f"`{name}` belongs to `{owner}` from then on." for name, owner in rules.takes.items())
    yield from (f"`{name}` is kept alive as long as C may use it." for name in (*rules.keeps, *rules.replaces))
    yield from (f"`{name}` may be freed before the result, which goes on reading it." for name in reads)
    if rules.frees:
        yield f"Ends `{rules.frees}`."


def rule_lines(rules: policy.Rules, parameters: list[str]) -> list[str]:
    """Say what holds for a function, a sentence each; what a wide table says of others' parameters is left out."""
    nullable = [f"`{name}` may be None." for name in rules.nullable if name in parameters]
    waits = ["Waits for another thread's call that changes what it reads."] if rules.waits else []
    return [*nullable, *_lengths(rules), *_limits(rules), *_result(rules), *_owners(rules, parameters), *waits]


# ---------------------------------------------------------------- the declarations


@dataclasses.dataclass(frozen=True)
class Entry:
    """What stands on a page: a name, where it is declared, and its section in Markdown."""

    name: str
    header: str
    text: str
    is_function: bool


def entries(header: trim_header.Header, rules: policy.Policy) -> Iterator[Entry]:
    """Yield everything that has a name, the types first."""
    types = Types(header.nodes)
    for struct in types.structs:
        if types.name(struct):
            yield _entry("struct", types.name(struct), struct, _struct(types, struct))
    for node in header.nodes:
        if trim_header.is_function(node):
            yield _entry("", node.name, node, _function(types, node, header, rules))
        elif enum := _enum(node):
            yield _entry("enum", enum.name or node.name, node, _enumerators(enum))
        elif isinstance(node, c_ast.Typedef) and types.kind(node.type).name == "FUNCTION":
            yield _entry("callback", node.name, node, _code(types.text(node)))


def _entry(word: str, name: str, node: c_ast.Node, text: str) -> Entry:
    title = f"{word} {name}".lstrip()
    return Entry(name, pathlib.Path(node.coord.file).name, f"## {title}\n\n{_comment(node)}{text}", not word)


def _comment(node: c_ast.Node) -> str:
    said = comments.of(node)
    return f'<p class="header-comment">{html.escape(said)}</p>\n\n' if said else ""


def _code(text: str) -> str:
    return f"```c\n{text}\n```\n"


def _function(types: Types, node: c_ast.Decl, header: trim_header.Header, rules: policy.Policy) -> str:
    said = [f"Deprecated: {html.escape(hint)}."] if (hint := header.deprecated.get(node.name)) else []
    said += [] if is_variadic(node) else rule_lines(rules.of(node.name), parameter_names(node))
    return _code(_prototype(types, node)) + "".join(f"\n- {line}" for line in said) + "\n"


def _prototype(types: Types, node: c_ast.Decl) -> str:
    """Write the parameters of a long prototype below each other: a narrow screen shows no more."""
    text = types.prototype(node)
    if len(text) <= 48 or is_variadic(node) or not parameters(node):
        return text
    lines = ",\n    ".join(types.text(parameter) for parameter in parameters(node))
    return f"{text.partition(f'{node.name}(')[0]}{node.name}(\n    {lines}\n)"


def _struct(types: Types, struct: c_ast.Struct) -> str:
    return _list((types.text(field), field) for field in struct.decls if field.name)


def _enum(node: c_ast.Node) -> c_ast.Enum | None:
    """Return the enum that a declaration defines, if it does."""
    end = node.type if isinstance(node.type, c_ast.Enum) else getattr(node.type, "type", None)
    return end if isinstance(end, c_ast.Enum) and end.values and (end.name or node.name) else None


def _enumerators(enum: c_ast.Enum) -> str:
    return _list((one.name, one) for one in enum.values.enumerators)


def _list(members: Iterable[tuple[str, c_ast.Node]]) -> str:
    """Write names with their comments below each other."""
    return "".join(f"- `{code}`{_plain(comments.of(node))}\n" for code, node in members)


def _plain(comment: str) -> str:
    """Spell a comment so that Markdown finds nothing in it."""
    lines = re.sub(r"[*_\[\]`<>&|]", lambda sign: f"&#{ord(sign[0])};", comment).splitlines()
    return "".join(f"<br>{line}" for line in lines)


# ---------------------------------------------------------------- the pages


def pages(header: trim_header.Header, rules: policy.Policy) -> dict[str, str]:
    """Return the text of each page by its file's name, and the table of contents as `index.md`."""
    found: dict[Subject, list[Entry]] = {subject: [] for subject in SUBJECTS}
    for entry in entries(header, rules):
        found[_subject(entry)].append(entry)
    made = {f"{subject.file}.md": _page(subject, listed) for subject, listed in found.items()}
    return {"index.md": _index(found), **made}


def _subject(entry: Entry) -> Subject:
    names = (entry.name, entry.header)
    return next(one for one in SUBJECTS if any(policy.matches(one.patterns, name) for name in names))


def _page(subject: Subject, listed: list[Entry]) -> str:
    listed = sorted(listed, key=lambda entry: not entry.is_function)
    return "\n".join([f"# {subject.title}\n\n{subject.about}.\n", *(one.text for one in listed)])


def _index(found: dict[Subject, list[Entry]]) -> str:
    lines = [
        "# Reference\n",
        "All that llama.cpp's headers declare, with their comments and what is checked. Arguments have their names.",
        "What each C type takes and gives back in Python is in [the border](../border.md).\n",
    ]
    lines += ["| page | functions | what it is about |", "| --- | --- | --- |"]
    for subject, listed in found.items():
        number = sum(entry.is_function for entry in listed)
        lines.append(f"| [{subject.title}]({subject.file}.md) | {number} | {subject.about} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=pathlib.Path, help="llama.cpp checkout")
    parser.add_argument("folder", type=pathlib.Path, help="where the pages go")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for file, text in pages(trim_header.trim(given.source), policy.load()).items():
        (given.folder / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
